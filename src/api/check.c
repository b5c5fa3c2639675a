/* A data set looked through. */
#include "api/train_int.h"

void tr_check_progress(void *self, int64_t i, int64_t n)
{
    tr_stage *stage = self;
    stage->n = n;
    tr_stage_done(stage, i);
}

bool tr_check_cancelled(void *self)
{
    const tress_hooks *h = &((tr_stage *)self)->host->hooks;
    return h->cancelled && h->cancelled(h->self);
}

tress_status tress_check(tress *t, const tress_check_args *a, char **report)
{
    tress_status st = TRESS_OK;
    tr_dataset *d = NULL;
    tr_check *c = NULL;
    tr_image *sheet = NULL;
    tr_stage stage = { 0 };
    tr_str text = { 0 };
    if (!t || !a || !a->data || !report) return tr_fail(TRESS_E_ARG, "tress_check: a folder and a place for the report are needed");
    const int n_thread = tr_device_threads(t->host.device);
    TR_TRY(tr_dataset_list(&d, a->data));
    TR_TRY(tr_stage_begin(&stage, &t->host, "check", 0));
    const tr_data_hooks hooks = { &stage, tr_check_progress, NULL, tr_check_cancelled };
    TR_TRY(tr_check_run(&c, d, n_thread, &hooks));
    if (a->sheet) TR_TRY(tr_check_sheet(&sheet, c, n_thread));
    TR_TRY(tr_check_report(&text, c, a->json, sheet ? a->sheet : NULL));
    if (sheet) TR_TRY(tr_image_write(sheet, a->sheet, NULL));           /* last: a failure before it leaves no file */
    *report = text.s;
    text = (tr_str){ 0 };
    TR_TRY(tr_check_verdict(c));
done:
    tr_stage_end(&stage);
    tr_str_fini(&text);
    tr_image_free(sheet);
    tr_check_free(c);
    tr_dataset_free(d);
    return st;
}
