#include "train/checkpoint.h"

#include "train/say_int.h"

#include <stdio.h>
#include <string.h>

#define NAME_BEGIN  "step-"
#define NAME_END    ".safetensors"
#define NAME_DIGITS 9

void tr_say_line(tr_say say, void *self, const char *format, ...)
{
    if (!say) return;
    char text[2048];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    say(self, text);
}

tress_status tr_checkpoint_path(char **out, const char *dir, int64_t step)
{
    char name[64];
    TR_ASSERT(step >= 0 && step <= TR_RUN_STEP_MAX);
    snprintf(name, sizeof name, NAME_BEGIN "%0*" PRId64 NAME_END, NAME_DIGITS, step);
    return tr_path_join(out, dir, name);
}

int64_t tr_checkpoint_step(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const size_t n_begin = strlen(NAME_BEGIN);
    if (strncmp(name, NAME_BEGIN, n_begin) != 0 || strspn(name + n_begin, "0123456789") != NAME_DIGITS) return -1;
    if (strcmp(name + n_begin + NAME_DIGITS, NAME_END) != 0) return -1;
    int64_t step = 0;
    for (int i = 0; i < NAME_DIGITS; i++) step = step * 10 + (name[n_begin + (size_t)i] - '0');
    return step;
}

/* The checkpoints of a folder, oldest first: of names of one width, the order of bytes is that of steps. */
static tress_status list_steps(char ***list, int *n, const char *dir)
{
    char **all = NULL;
    int n_all = 0, n_keep = 0;
    tress_status st = tr_dir_list(&all, &n_all, dir);
    if (st != TRESS_OK) return st;
    for (int i = 0; i < n_all; i++) {
        if (tr_checkpoint_step(all[i]) >= 0) all[n_keep++] = all[i];
        else tr_free(all[i]);
    }
    *list = all;
    *n = n_keep;
    return TRESS_OK;
}

/* Only the lack of memory is no verdict on the file. */
static tress_status open_intact(tr_checkpoint **out, const char *dir, const char *name)
{
    char *path = NULL;
    tress_status st = tr_path_join(&path, dir, name);
    if (st == TRESS_OK) st = tr_checkpoint_open(out, path);
    tr_free(path);
    return st;
}

tress_status tr_checkpoint_latest(tr_checkpoint **out, const char *dir, tr_say say, void *self)
{
    tress_status st = TRESS_OK;
    char **list = NULL;
    int n = 0;
    tr_checkpoint *c = NULL;
    TR_TRY(list_steps(&list, &n, dir));
    for (int i = n - 1; i >= 0 && !c; i--) {
        st = open_intact(&c, dir, list[i]);
        if (st == TRESS_E_OOM) goto done;
        if (st != TRESS_OK) tr_say_line(say, self, "passed over: %s", tr_message());
    }
    st = TRESS_OK;
    if (n > 0 && !c)
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: none of the %d checkpoints is intact; the newest is %s", dir, n, list[n - 1]));
    *out = c;
done:
    tr_names_free(list, n);
    return st;
}

tress_status tr_checkpoint_prune(const char *dir, int keep, tr_say say, void *self)
{
    tress_status st = TRESS_OK;
    char **list = NULL, *path = NULL;
    int n = 0, first = 0, intact = -1;
    TR_ASSERT(keep >= 1);
    TR_TRY(list_steps(&list, &n, dir));
    if (n <= keep) goto done;
    first = n - keep;
    for (int i = n - 1; i >= 0 && intact < 0; i--) {            /* usually the first: it was saved a moment ago */
        tr_checkpoint *c = NULL;
        st = open_intact(&c, dir, list[i]);
        tr_checkpoint_close(c);
        if (st == TRESS_E_OOM) goto done;
        if (st == TRESS_OK) intact = i;
    }
    st = TRESS_OK;
    if (intact < 0) {
        tr_say_line(say, self, "%s: no checkpoint is intact, so none is removed", dir);
        goto done;
    }
    for (int i = 0; i < first; i++) {
        if (i == intact) continue;
        tr_free(path);
        path = NULL;
        TR_TRY(tr_path_join(&path, dir, list[i]));
        if (tr_file_remove(path) != TRESS_OK) tr_say_line(say, self, "%s", tr_message());
    }
done:
    tr_free(path);
    tr_names_free(list, n);
    return st;
}

tress_status tr_checkpoint_clean(const char *dir, tr_say say, void *self)
{
    int n = 0;
    tress_status st = tr_out_sweep(dir, &n);
    if (st == TRESS_OK && n > 0)
        tr_say_line(say, self, "%s: %d unfinished file%s of an interrupted run removed", dir, n, n == 1 ? "" : "s");
    return st;
}
