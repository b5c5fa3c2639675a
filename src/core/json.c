#include "core/json.h"

#include <math.h>

/* The depth of brackets outside strings, in one pass: jansson descends by recursion, so the text is measured first.
 * Wrong nesting is left to jansson. */
static tress_status check_depth(const char *text, size_t n, int depth_max, const char *where)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') i++;
            else if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > depth_max)
                return tr_fail(TRESS_E_FORMAT, "%s: JSON nested deeper than %d at byte %zu", where, depth_max, i);
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return TRESS_OK;
}

tress_status tr_json_parse(json_t **out, const char *text, size_t n, int depth_max, const char *where)
{
    tress_status st = check_depth(text, n, depth_max, where);
    if (st != TRESS_OK) return st;
    json_error_t e;
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (!o) {
        if (json_error_code(&e) == json_error_out_of_memory) return tr_fail(TRESS_E_OOM, "%s: out of memory in JSON", where);
        return tr_fail(TRESS_E_FORMAT, "%s: bad JSON at line %d, column %d: %s", where, e.line, e.column, e.text);
    }
    *out = o;
    return TRESS_OK;
}

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real number";
    case JSON_TRUE: case JSON_FALSE: return "a boolean";
    case JSON_NULL: break;
    }
    return "null";
}

tress_status tr_json_int(int64_t *out, const json_t *o, const char *key, int64_t min, int64_t max, int64_t absent, const char *where)
{
    const json_t *v = json_object_get(o, key);
    if (!v) return *out = absent, TRESS_OK;
    if (!json_is_integer(v)) return tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is %s, expected an integer", where, key, type_name(v));
    const int64_t x = json_integer_value(v);
    if (x < min || x > max)
        return tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is %" PRId64 ", expected %" PRId64 " to %" PRId64, where, key, x, min, max);
    return *out = x, TRESS_OK;
}

tress_status tr_json_double(double *out, const json_t *o, const char *key, double min, double max, double absent, const char *where)
{
    const json_t *v = json_object_get(o, key);
    if (!v) return *out = absent, TRESS_OK;
    if (!json_is_number(v)) return tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is %s, expected a number", where, key, type_name(v));
    const double x = json_number_value(v);
    if (!isfinite(x) || !(x >= min && x <= max))
        return tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is %g, expected %g to %g", where, key, x, min, max);
    return *out = x, TRESS_OK;
}

tress_status tr_json_bool(bool *out, const json_t *o, const char *key, bool absent, const char *where)
{
    const json_t *v = json_object_get(o, key);
    if (!v) return *out = absent, TRESS_OK;
    if (!json_is_boolean(v)) return tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is %s, expected true or false", where, key, type_name(v));
    return *out = json_is_true(v), TRESS_OK;
}

tress_status tr_json_string(const char **out, const json_t *o, const char *key, const char *absent, const char *where)
{
    const json_t *v = json_object_get(o, key);
    if (!v) return *out = absent, TRESS_OK;
    if (!json_is_string(v)) return tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is %s, expected a string", where, key, type_name(v));
    return *out = json_string_value(v), TRESS_OK;
}
