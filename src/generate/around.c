#include "generate/around.h"

#include "generate/contract.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- where ----------------------------------------------------------------------------------------------- */
typedef struct near { float distance; int32_t i; } near;

static int by_distance(const void *a, const void *b)
{
    const near *x = a, *y = b;
    return x->distance != y->distance ? (x->distance > y->distance ? 1 : -1) : x->i - y->i;
}

static int by_place(const void *a, const void *b) { return *(const int32_t *)a - *(const int32_t *)b; }

/* Tokens of the region, and of the others the n_most nearest to it. */
static tress_status sort_tokens(tr_around *s, tr_planes token, int64_t n_most)
{
    tress_status st = TRESS_OK;
    tr_planes distance = { 0 };
    near *list = NULL;
    void *p = NULL;
    const int64_t n = (int64_t)token.h * token.w;
    int64_t n_out = 0;
    TR_TRY(tr_distance(&distance, token));
    TR_TRY(tr_alloc_array(&p, n, sizeof *list));
    list = p;
    TR_TRY(tr_alloc_array(&p, n, sizeof *s->drawn));
    s->drawn = p;
    TR_TRY(tr_alloc_array(&p, n, sizeof *s->row));
    s->row = p;
    for (int64_t i = 0; i < n; i++) {
        if (token.data[i] > 0) s->drawn[s->n_drawn++] = (int32_t)i;
        else list[n_out++] = (near){ distance.data[i], (int32_t)i };
    }
    if (n_out > 0) qsort(list, (size_t)n_out, sizeof *list, by_distance);
    s->n_row = n_out < n_most ? n_out : n_most;
    for (int64_t i = 0; i < s->n_row; i++) s->row[i] = list[i].i;
    if (s->n_row > 0) qsort(s->row, (size_t)s->n_row, sizeof *s->row, by_place);
done:
    tr_planes_fini(&distance);
    tr_free(list);
    return st;
}

tress_status tr_around_make(tr_around *out, const tr_canvas *c, int rows)
{
    tr_around s = { 0 };
    const tress_status st = sort_tokens(&s, c->edited, rows);
    if (st == TRESS_OK) *out = s;
    else tr_around_fini(&s);
    return st;
}

void tr_around_fini(tr_around *s)
{
    tr_free(s->row);
    tr_free(s->drawn);
    memset(s, 0, sizeof *s);
}

/* ---- how ------------------------------------------------------------------------------------------------- */
tress_status tr_around_policy(tress_reference *out, const tr_bundle *m, const tress_generate_args *a)
{
    tress_status st = TRESS_OK;
    tress_reference found = a->reference;
    if (found == TRESS_REFERENCE_AUTO) {
        found = a->photo && !a->inpaint ? TRESS_REFERENCE_STAIRCASE : TRESS_REFERENCE_OFF;
        for (int i = 0; found == TRESS_REFERENCE_STAIRCASE && i < m->args.n_lora; i++) {
            tr_contract trained;
            TR_TRY(tr_contract_read(&trained, m->lora[i]));
            for (int k = TRESS_REFERENCE_CLEAN; k <= TRESS_REFERENCE_NOISED; k++)
                if (strcmp(trained.reference, tr_reference_name((tress_reference)k)) == 0) found = (tress_reference)k;
        }
    }
    if (found != TRESS_REFERENCE_OFF && !a->photo)
        TR_TRY(tr_fail(TRESS_E_ARG, "--reference %s needs --photo: it is what the drawing refers to", tr_reference_name(found)));
    *out = a->reference_strength == 0 ? TRESS_REFERENCE_OFF : found;
done:
    return st;
}

float tr_around_weight(float p, float m)
{
    const float most = p < 32.0f / 33 ? p / (1 - p) : 32;
    return most * (1 - 0.4f * m + 0.6f * 4 * m * (1 - m));
}

tress_status tr_around_window(int *begin, int *end, const tress_generate_args *a, int n_block)
{
    const int first = a->reference_first >= 0 ? a->reference_first : (8 * n_block + 19) / 38;
    const int last = a->reference_last >= 0 ? a->reference_last : (31 * n_block + 19) / 38 - 1;
    if (first > last || last >= n_block)
        return tr_fail(TRESS_E_ARG, "--reference-first %d, --reference-last %d: expected first <= last <= %d, the last block of this transformer", first, last, n_block - 1);
    *begin = first;
    *end = last + 1;
    return TRESS_OK;
}
