/* convert_int.h - inside of converting: the modules being rewritten, and the small files round their weights. */
#ifndef TRESS_API_CONVERT_INT_H
#define TRESS_API_CONVERT_INT_H

#include "api/api_int.h"

#define CONVERT_MODULES 6

/* A model's folder in the making: names are below `dir`. convert_folder.c */
/* The module's config.json: the source's own, else what its shapes say. dtype_name: what transformers calls the new type; NULL: unchanged. */
TR_CHECKED tress_status convert_write_config(const char *dir, tr_weights *w, const char *dtype_name);
/* model_index.json, scheduler/ and tokenizers for a model's folder. from: the source folder, NULL for a file; tokenizers: folder or NULL. */
TR_CHECKED tress_status convert_write_model(const char *dir, const char *from, const char *tokenizers, const bool has[CONVERT_MODULES], const tr_host *h);
/* Remove dir with everything below it, at most three folders deep. */
void convert_remove(const char *dir);
bool convert_is_empty(const char *dir);         /* a folder that can be read and holds nothing */

#endif
