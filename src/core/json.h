/* json.h - JSON in, strictly: depth is scanned without recursion before jansson sees the text, duplicate keys and
 * trailing bytes are errors. Out: jansson's own dump. Everybody includes this rather than jansson.h. */
#ifndef TRESS_CORE_JSON_H
#define TRESS_CORE_JSON_H

#include "core/status.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Parse n bytes. *out is new; json_decref. depth_max: 8 for headers, 16 for configurations and requests.
 * where names the file for the message. Fails: FORMAT, OOM. */
TR_CHECKED tress_status tr_json_parse(json_t **out, const char *text, size_t n, int depth_max, const char *where);
/* Typed look-ups with bounds. A missing key gives `absent`; a wrong type or a value out of range is TRESS_E_FORMAT
 * naming where and key. */
TR_CHECKED tress_status tr_json_int(int64_t *out, const json_t *o, const char *key, int64_t min, int64_t max, int64_t absent, const char *where);
TR_CHECKED tress_status tr_json_double(double *out, const json_t *o, const char *key, double min, double max, double absent, const char *where);
TR_CHECKED tress_status tr_json_bool(bool *out, const json_t *o, const char *key, bool absent, const char *where);
/* *out is a view into o, or `absent`. */
TR_CHECKED tress_status tr_json_string(const char **out, const json_t *o, const char *key, const char *absent, const char *where);

#ifdef __cplusplus
}
#endif
#endif
