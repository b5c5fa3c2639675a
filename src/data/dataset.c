#include "data/dataset.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const char *const kind_names[TR_DATA_KINDS] = { "img", "matte", "sketch" };
static const char *const half_names[2] = { "train", "test" };

const char *tr_data_kind_name(tr_data_kind k) { return kind_names[k]; }

uint64_t tr_data_key(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;           /* FNV-1a, then one round of Philox: FNV's high bits hardly move for short names */
    uint32_t w[4];
    for (const char *p = name; *p; p++) h = (h ^ (uint8_t)*p) * 0x100000001b3u;
    tr_philox(w, 0x7472657373u, h, 0);
    return (uint64_t)w[1] << 32 | w[0];
}

/* ---- names ----------------------------------------------------------------------------------------------- */

/* The length of the UTF-8 letter at s, 0 if it is none or a control character (C0, DEL, C1, line and paragraph separators, marks that
 * turn the writing direction). */
static int letter_length(const unsigned char *s)
{
    const int n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    uint32_t c = n == 1 ? s[0] : n == 2 ? s[0] & 0x1fu : n == 3 ? s[0] & 0x0fu : s[0] & 0x07u;
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff) return 0;
    if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000)) return 0;
    if ((c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069)) return 0;
    return n;
}

static bool is_printable(const char *s)
{
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        const int n = letter_length(p);
        if (n == 0) return false;
        p += n;
    }
    return true;
}

/* *out is new: s with every byte that must not reach a terminal or a JSON text as \xHH. */
static tress_status harmless(char **out, const char *s)
{
    tress_status st = TRESS_OK;
    tr_str b = { 0 };
    TR_TRY(tr_str_add(&b, "", 0));
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        const int n = letter_length(p);
        if (n > 0) TR_TRY(tr_str_add(&b, (const char *)p, (size_t)n));
        else TR_TRY(tr_str_printf(&b, "\\x%02x", *p));
        p += n > 0 ? n : 1;
    }
    *out = b.s;
    b = (tr_str){ 0 };
done:
    tr_str_fini(&b);
    return st;
}

/* The length of name before a picture's ending; 0 when it has none. */
static size_t stem_length(const char *name)
{
    static const char *const endings[] = { ".png", ".jpg", ".jpeg", ".webp" };
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && dot > name && i < 4; i++)
        if (strcasecmp(dot, endings[i]) == 0) return (size_t)(dot - name);
    return 0;
}

/* ---- findings -------------------------------------------------------------------------------------------- */

tress_status tr_findings_add(tr_findings *f, bool unfit, int i_item, const char *path, const char *format, ...)
{
    tress_status st = TRESS_OK;
    tr_finding one = { .unfit = unfit, .i_item = i_item };
    char text[1024], *clean = NULL;
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (f->n == f->cap) {
        const int cap = f->cap ? 2 * f->cap : 16;
        void *p = f->at;
        TR_TRY(tr_realloc(&p, (size_t)f->cap * sizeof *f->at, (size_t)cap * sizeof *f->at));
        f->at = p;
        f->cap = cap;
    }
    TR_TRY(harmless(&one.path, path));
    TR_TRY(harmless(&clean, text));             /* a decoder's message may quote the file */
    one.text = clean;
    clean = NULL;
    f->at[f->n++] = one;
    one = (tr_finding){ 0 };
done:
    tr_free(one.path);
    tr_free(one.text);
    tr_free(clean);
    return st;
}

void tr_findings_fini(tr_findings *f)
{
    for (int i = 0; i < f->n; i++) {
        tr_free(f->at[i].path);
        tr_free(f->at[i].text);
    }
    tr_free(f->at);
    *f = (tr_findings){ 0 };
}

/* ---- folders --------------------------------------------------------------------------------------------- */

/* A picture's file in a folder; all of them together are sorted and walked. */
typedef struct entry { char *stem, *path; tr_data_kind kind; bool test; } entry;

typedef struct listing {
    tr_dataset *d;
    entry *at;
    int    n, cap, n_name;
    bool   folder[TR_DATA_KINDS][2];            /* which folders there are, by train and test */
} listing;

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_item(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    const int c = strcmp(x->stem, y->stem);
    if (c != 0) return c;
    if (x->test != y->test) return x->test - y->test;
    if (x->kind != y->kind) return (int)x->kind - (int)y->kind;
    return strcmp(x->path, y->path);
}

static void free_names(char **names, int n)
{
    for (int i = 0; i < n; i++) tr_free(names[i]);
    tr_free(names);
}

/* The names in a folder, sorted, hidden ones left out; *out is new, *n of them. */
static tress_status read_names(char ***out, int *n, listing *l, const char *dir)
{
    tress_status st = TRESS_OK;
    char **names = NULL;
    int n_name = 0, cap = 0;
    DIR *d = opendir(dir);
    if (!d) TR_TRY(tr_fail(TRESS_E_IO, "%s: the folder cannot be read: %s", dir, strerror(errno)));
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e && errno != 0) TR_TRY(tr_fail(TRESS_E_IO, "%s: the folder cannot be read: %s", dir, strerror(errno)));
        if (!e) break;
        if (e->d_name[0] == '.') continue;
        if (++l->n_name > TR_DATA_FILES_MAX)
            TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: holds more than %d files; a data set has at most so many", l->d->dir, TR_DATA_FILES_MAX));
        if (n_name == cap) {
            void *p = names;
            const int more = cap ? 2 * cap : 64;
            TR_TRY(tr_realloc(&p, (size_t)cap * sizeof *names, (size_t)more * sizeof *names));
            names = p;
            cap = more;
        }
        TR_TRY(tr_strdup(&names[n_name], e->d_name));
        n_name++;
    }
    if (n_name > 0) qsort(names, (size_t)n_name, sizeof *names, by_name);
    *out = names;
    *n = n_name;
    names = NULL;
done:
    if (names) free_names(names, n_name);
    if (d) closedir(d);
    return st;
}

static tress_status add_entry(listing *l, const char *name, size_t n_stem, char *path /* taken */, tr_data_kind kind, bool test)
{
    tress_status st = TRESS_OK;
    void *stem = NULL;
    if (l->n == l->cap) {
        void *p = l->at;
        const int more = l->cap ? 2 * l->cap : 256;
        TR_TRY(tr_realloc(&p, (size_t)l->cap * sizeof *l->at, (size_t)more * sizeof *l->at));
        l->at = p;
        l->cap = more;
    }
    TR_TRY(tr_alloc(&stem, n_stem + 1));
    memcpy(stem, name, n_stem);
    l->at[l->n++] = (entry){ .stem = stem, .path = path, .kind = kind, .test = test };
    path = NULL;
done:
    tr_free(path);
    return st;
}

/* What is wrong with a path as a picture's file, NULL: nothing. It is not opened. */
static const char *wrong_with(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) return errno == ENOENT || errno == ELOOP ? "is a link to nothing" : strerror(errno);
    if (S_ISDIR(info.st_mode)) return "is a folder, expected a picture";
    if (!S_ISREG(info.st_mode)) return "is not a regular file";
    return info.st_size == 0 ? "is empty: it has 0 bytes" : NULL;
}

/* All pictures of one folder. split: folders train and test in it are halves, not strangers. */
static tress_status list_folder(listing *l, const char *dir, tr_data_kind kind, bool test, bool split)
{
    tress_status st = TRESS_OK;
    char **names = NULL, *path = NULL;
    int n = 0, n_stranger = 0, i_stranger = -1;
    TR_TRY(read_names(&names, &n, l, dir));
    for (int i = 0; i < n; i++) {
        const size_t n_stem = stem_length(names[i]);
        const char *wrong;
        if (split && (strcmp(names[i], half_names[0]) == 0 || strcmp(names[i], half_names[1]) == 0)) continue;
        if (n_stem == 0) {
            if (n_stranger++ == 0) i_stranger = i;
            continue;
        }
        TR_TRY(tr_path_join(&path, dir, names[i]));
        wrong = wrong_with(path);
        if (!wrong && !is_printable(names[i])) wrong = "has a name with control characters or bytes that are not UTF-8; rename it";
        if (split)
            TR_TRY(tr_findings_add(&l->d->found, false, -1, path, "lies beside train/ and test/, so it belongs to neither half and is left out"));
        else if (wrong)
            TR_TRY(tr_findings_add(&l->d->found, true, -1, path, "%s", wrong));
        if (!split && !wrong) {
            char *taken = path;
            path = NULL;
            TR_TRY(add_entry(l, names[i], n_stem, taken, kind, test));
        }
        tr_free(path);
        path = NULL;
    }
    if (n_stranger > 0) {
        TR_TRY(harmless(&path, names[i_stranger]));
        if (n_stranger == 1) TR_TRY(tr_findings_add(&l->d->found, false, -1, dir, "holds %s, which is no PNG, JPEG or WebP by its name and is left out", path));
        else TR_TRY(tr_findings_add(&l->d->found, false, -1, dir, "holds %d files that are no PNG, JPEG or WebP by their names and are left out: %s, ...", n_stranger, path));
    }
done:
    tr_free(path);
    if (names) free_names(names, n);
    return st;
}

/* dir/a, or dir/a/b if b. *out is new. */
static tress_status folder_path(char **out, const char *dir, const char *a, const char *b)
{
    tress_status st = TRESS_OK;
    char *p = NULL;
    TR_TRY(tr_path_join(&p, dir, a));
    if (b) TR_TRY(tr_path_join(out, p, b));
    else {
        *out = p;
        p = NULL;
    }
done:
    tr_free(p);
    return st;
}

static tress_status folder_exists(bool *out, const char *dir, const char *a, const char *b)
{
    char *path = NULL;
    const tress_status st = folder_path(&path, dir, a, b);
    if (st == TRESS_OK) *out = tr_dir_exists(path);
    tr_free(path);
    return st;
}

/* Which layout it is, and which of its folders there are. */
static tress_status find_layout(listing *l)
{
    tress_status st = TRESS_OK;
    const char *dir = l->d->dir;
    bool flat[TR_DATA_KINDS], kind_first[TR_DATA_KINDS][2], half_first[TR_DATA_KINDS][2], any_flat = false, any_kind = false, any_half = false;
    for (int k = 0; k < TR_DATA_KINDS; k++) {
        TR_TRY(folder_exists(&flat[k], dir, kind_names[k], NULL));
        any_flat |= flat[k];
        for (int h = 0; h < 2; h++) {
            TR_TRY(folder_exists(&kind_first[k][h], dir, kind_names[k], half_names[h]));
            TR_TRY(folder_exists(&half_first[k][h], dir, half_names[h], kind_names[k]));
            any_kind |= kind_first[k][h];
            any_half |= half_first[k][h];
        }
    }
    l->d->layout = any_kind ? TR_DATA_KIND_FIRST : any_flat ? TR_DATA_FLAT : any_half ? TR_DATA_HALF_FIRST : TR_DATA_EMPTY;
    if (any_half && any_flat)
        TR_TRY(tr_findings_add(&l->d->found, true, -1, dir, "holds both img/, matte/, sketch/ and train/ or test/ with such folders in it: keep one of the two"));
    for (int k = 0; k < TR_DATA_KINDS; k++)
        for (int h = 0; h < 2; h++) l->folder[k][h] = any_kind ? kind_first[k][h] : any_flat ? flat[k] && h == 0 : half_first[k][h];
    if (l->d->layout == TR_DATA_EMPTY)
        TR_TRY(tr_findings_add(&l->d->found, true, -1, dir, "holds no folders img/, matte/ and sketch/ (also with train/ and test/ in them, or the other way round)"));
done:
    return st;
}

static tress_status list_folders(listing *l)
{
    tress_status st = TRESS_OK;
    char *path = NULL;
    const tr_data_layout layout = l->d->layout;
    for (int h = 0; h < (layout == TR_DATA_FLAT ? 1 : 2); h++) {
        bool any = false;
        for (int k = 0; k < TR_DATA_KINDS; k++) any |= l->folder[k][h];
        for (int k = 0; any && k < TR_DATA_KINDS; k++) {
            const char *a = layout == TR_DATA_HALF_FIRST ? half_names[h] : kind_names[k];
            const char *b = layout == TR_DATA_HALF_FIRST ? kind_names[k] : layout == TR_DATA_KIND_FIRST ? half_names[h] : NULL;
            TR_TRY(folder_path(&path, l->d->dir, a, b));
            if (l->folder[k][h]) TR_TRY(list_folder(l, path, (tr_data_kind)k, h == 1, false));
            else TR_TRY(tr_findings_add(&l->d->found, true, -1, path, "there is no such folder, though there are others like it"));
            tr_free(path);
            path = NULL;
        }
    }
    for (int k = 0; layout == TR_DATA_KIND_FIRST && k < TR_DATA_KINDS; k++) {        /* pictures beside the halves */
        TR_TRY(folder_path(&path, l->d->dir, kind_names[k], NULL));
        if (tr_dir_exists(path)) TR_TRY(list_folder(l, path, (tr_data_kind)k, false, true));
        tr_free(path);
        path = NULL;
    }
done:
    tr_free(path);
    return st;
}

/* ---- pairs ----------------------------------------------------------------------------------------------- */

/* The entries of one stem and half become an item, or findings. */
static tress_status pair(listing *l, entry *e, int n)
{
    tress_status st = TRESS_OK;
    tr_dataset *d = l->d;
    entry *of[TR_DATA_KINDS] = { NULL };
    tr_str missing = { 0 };
    bool twice = false;
    for (int i = 0; i < n; i++) {
        if (of[e[i].kind]) {
            twice = true;
            TR_TRY(tr_findings_add(&d->found, true, -1, e[i].path, "has the same stem as %s: which of them belongs to the others?", of[e[i].kind]->path));
        } else {
            of[e[i].kind] = &e[i];
        }
    }
    for (int k = 0; k < TR_DATA_KINDS; k++)
        if (!of[k]) TR_TRY(tr_str_printf(&missing, "%s%s", missing.len ? " and no " : "no ", kind_names[k]));
    for (int k = 0; missing.len && k < TR_DATA_KINDS; k++)
        if (of[k]) TR_TRY(tr_findings_add(&d->found, true, -1, of[k]->path, "has %s of the same stem", missing.s));
    if (!missing.len && !twice) {
        tr_data_item *item = &d->item[d->n_item++];
        item->test = e[0].test;
        d->n_test += item->test;
        item->name = e[0].stem;
        e[0].stem = NULL;
        for (int k = 0; k < TR_DATA_KINDS; k++) {
            item->path[k] = of[k]->path;
            of[k]->path = NULL;
        }
    }
done:
    tr_str_fini(&missing);
    return st;
}

static tress_status pair_all(listing *l)
{
    tress_status st = TRESS_OK;
    if (l->n > 1) qsort(l->at, (size_t)l->n, sizeof *l->at, by_item);
    TR_TRY(tr_alloc_array((void **)&l->d->item, l->n / TR_DATA_KINDS + 1, sizeof *l->d->item));
    for (int i = 0, n; i < l->n; i += n) {
        for (n = 1; i + n < l->n && l->at[i + n].test == l->at[i].test && strcmp(l->at[i + n].stem, l->at[i].stem) == 0;) n++;
        TR_TRY(pair(l, l->at + i, n));
    }
done:
    return st;
}

tress_status tr_dataset_list(tr_dataset **out, const char *dir)
{
    tress_status st = TRESS_OK;
    listing l = { 0 };
    struct stat info;
    TR_TRY(tr_alloc((void **)&l.d, sizeof *l.d));
    TR_TRY(tr_strdup(&l.d->dir, dir));
    if (stat(dir, &info) != 0) TR_TRY(tr_fail(TRESS_E_IO, "%s: the data set cannot be read: %s", dir, strerror(errno)));
    if (!S_ISDIR(info.st_mode)) TR_TRY(tr_fail(TRESS_E_IO, "%s: is a file, expected the folder of a data set", dir));
    TR_TRY(find_layout(&l));
    TR_TRY(list_folders(&l));
    TR_TRY(pair_all(&l));
    if (l.d->n_item == 0 && l.d->layout != TR_DATA_EMPTY) TR_TRY(tr_findings_add(&l.d->found, true, -1, dir, "holds no picture with its matte and sketch"));
    *out = l.d;
    l.d = NULL;
done:
    for (int i = 0; i < l.n; i++) {
        tr_free(l.at[i].stem);
        tr_free(l.at[i].path);
    }
    tr_free(l.at);
    tr_dataset_free(l.d);
    return st;
}

void tr_dataset_free(tr_dataset *d)
{
    if (!d) return;
    for (int i = 0; i < d->n_item; i++) {
        tr_free(d->item[i].name);
        for (int k = 0; k < TR_DATA_KINDS; k++) tr_free(d->item[i].path[k]);
    }
    tr_free(d->item);
    tr_findings_fini(&d->found);
    tr_free(d->dir);
    tr_free(d);
}
