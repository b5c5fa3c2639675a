/* hub_int.h - what a repository of the Hugging Face hub holds, and which of it a person wants. Stays inside api. */
#ifndef TRESS_API_HUB_INT_H
#define TRESS_API_HUB_INT_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_hub_file {
    char   *path;                               /* relative, checked: it stays inside the folder it is joined to */
    int64_t size;                               /* bytes */
    char    sha256[65];                         /* of large files; "": the hub tells none */
    bool    wanted;
} tr_hub_file;
typedef struct tr_hub_list { tr_hub_file *file; int n, cap; } tr_hub_list;      /* zero-initialise; tr_hub_list_fini */

/* Add one page of ENDPOINT/api/models/REPO/tree/REVISION. Fails: FORMAT (not such a page, or a path that leads out), OOM. */
TR_CHECKED tress_status tr_hub_list_add(tr_hub_list *l, const char *json, size_t n, const char *where);
void tr_hub_list_fini(tr_hub_list *l);

/* Mark what is wanted. include, exclude: patterns as the hub's own client takes them: * spans folders, "x/" is "x/" and all below.
 * n_include = 0: what tress reads. With a model_index.json: that, the JSON, vocabularies and safetensors of the folders,
 * but no single files beside them; else every such file; licence and card in either. Where a folder holds weights with and
 * without a variant, only those of `variant` (NULL: those without). */
void tr_hub_list_choose(tr_hub_list *l, const char *const *include, int n_include, const char *const *exclude, int n_exclude, const char *variant);

/* "owner/name" or "name" as the hub allows them. */
bool tr_hub_is_repo(const char *repo);
/* Relative, of plain parts: no "", ".", "..", backslash, control character; at most 1024 bytes, 240 a part. */
bool tr_hub_is_safe(const char *path);

#ifdef __cplusplus
}
#endif
#endif
