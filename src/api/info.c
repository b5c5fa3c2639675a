#include "api/api_int.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <curl/curl.h>

#ifdef __x86_64__
#include <cpuid.h>
/* Asked by cpuid: clang's __builtin_cpu_supports does not know f16c. */
static bool has_f16c(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

typedef struct row { const char *key; char value[200]; } row;

/* The value of the first line of a /proc file that begins with key. */
static void proc_line(char *out, size_t size, const char *path, const char *key)
{
    char line[512];
    FILE *f = fopen(path, "r");
    snprintf(out, size, "unknown");
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) != 0) continue;
        const char *p = strchr(line, ':');
        if (!p) continue;
        for (p++; *p == ' ' || *p == '\t'; p++) {}
        snprintf(out, size, "%.*s", (int)strcspn(p, "\n"), p);
        break;
    }
    fclose(f);
}

static void cpu_abilities(char *out, size_t size)
{
    out[0] = '\0';
#ifdef __x86_64__
    __builtin_cpu_init();
    const struct { const char *name; bool on; } list[] = {
        { "avx2", __builtin_cpu_supports("avx2") }, { "fma", __builtin_cpu_supports("fma") }, { "f16c", has_f16c() },
        { "avx512f", __builtin_cpu_supports("avx512f") }, { "avx512bw", __builtin_cpu_supports("avx512bw") },
        { "avx512vl", __builtin_cpu_supports("avx512vl") }, { "avx512dq", __builtin_cpu_supports("avx512dq") },
        { "avx512vnni", __builtin_cpu_supports("avx512vnni") },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i].on) snprintf(out + strlen(out), size - strlen(out), "%s%s", *out ? " " : "", list[i].name);
#endif
    if (!*out) snprintf(out, size, "none of those tress uses");
}

static int collect(row *r, const tress *t)
{
    int n = 0;
    struct utsname u;
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
#define ROW(k, ...) (r[n].key = (k), snprintf(r[n].value, sizeof r[n].value, __VA_ARGS__), n++)
    ROW("tress", "%s", TRESS_VERSION);
    if (uname(&u) == 0) ROW("system", "%s %s %s", u.sysname, u.release, u.machine);
    r[n].key = "cpu";
    proc_line(r[n].value, sizeof r[n].value, "/proc/cpuinfo", "model name");
    n++;
    r[n].key = "cpu_abilities";
    cpu_abilities(r[n].value, sizeof r[n].value);
    n++;
    ROW("cores", "%d usable of %ld", tr_thread_count(), sysconf(_SC_NPROCESSORS_ONLN));
    ROW("memory", "%.1f GiB", (double)tr_mem_machine() / 0x1p30);
    ROW("backend", "%s", tr_device_name(t->host.device));
    ROW("cuda", "not in this build");
    r[n].key = "pictures";
    tr_image_libraries(r[n].value, sizeof r[n].value);
    n++;
    ROW("jansson", "%s", jansson_version_str());
    ROW("utf8proc", "%s", tr_text_library());
    ROW("libcurl", "%s", curl->version);
    ROW("libcrypto", "%s", tr_sha256_library());
#undef ROW
    return n;
}

tress_status tress_info(tress *t, bool json, char **out)
{
    tress_status st = TRESS_OK;
    tr_str b = { 0 };
    json_t *o = NULL;
    char *text = NULL;
    row r[24];
    if (!t || !out) return tr_fail(TRESS_E_ARG, "tress_info: handle and out must be given");
    const int n = collect(r, t);
    if (json) {
        o = json_object();
        for (int i = 0; i < n; i++) json_object_set_new(o, r[i].key, json_string(r[i].value));
        text = json_dumps(o, JSON_INDENT(1));
        if (!text) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the machine's JSON"));
        TR_TRY(tr_strdup(out, text));
    } else {
        for (int i = 0; i < n; i++) TR_TRY(tr_str_printf(&b, "%-14s %s\n", r[i].key, r[i].value));
        TR_TRY(tr_strdup(out, b.s));
    }
done:
    free(text);
    json_decref(o);
    tr_str_fini(&b);
    return st;
}
