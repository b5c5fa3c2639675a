/* op_docs OPS_DEF: docs/ops.md from the comments and lines of tensor/ops.def, on stdout. tests: op/docs holds the file to it. */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (1 << 20)

static void print_escaped(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '|' || s[i] == '<' || s[i] == '*' || s[i] == '_') putchar('\\');
        putchar(s[i]);
    }
}

/* The comment's words. */
static void print_comment(const char *begin, const char *end)
{
    char *flat = malloc((size_t)(end - begin) + 1);
    size_t n = 0;
    if (!flat) exit(1);
    for (const char *p = begin; p < end; p++) {
        const bool star = *p == '*' && p >= begin + 2 && p[-1] == ' ' && p[-2] == '\n';      /* of the comment's own margin */
        if (star) continue;
        if (isspace((unsigned char)*p)) {
            if (n && flat[n - 1] != ' ') flat[n++] = ' ';
        } else {
            flat[n++] = *p;
        }
    }
    while (n && flat[n - 1] == ' ') n--;
    print_escaped(flat, n);
    free(flat);
}

int main(int argc, char **argv)
{
    FILE *f = argc == 2 ? fopen(argv[1], "rb") : NULL;
    char *text = calloc(TEXT_MAX, 1);
    if (!f || !text || fread(text, 1, TEXT_MAX - 1, f) == 0) {
        fprintf(stderr, "usage: op_docs src/tensor/ops.def\n");
        return 2;
    }
    fclose(f);
    printf("# Ops\n\nWhat models are made of. This page is made from `src/tensor/ops.def` by `tools/op_docs.c`; do not edit it: run\n"
           "`build/op_docs src/tensor/ops.def > docs/ops.md`. Structures named here stand in `src/tensor/ops.h`. Each op has its front\n"
           "door in `src/tensor/NAME.c`, its CPU version in `src/backend/cpu/NAME.c` and its test and bench in `tests/op/NAME.c`:\n"
           "`build/check NAME`, `build/check NAME --bench`.\n\n");
    const char *head = strstr(text, "/*"), *head_end = head ? strstr(head, "*/") : NULL;
    const char *second = head_end ? strstr(head, "\n *\n") : NULL;
    if (second && second < head_end) {
        print_comment(second + 3, head_end);
        printf("\n\n");
    }
    printf("| op | what it does | parameters |\n|---|---|---|\n");
    int n = 0;
    for (const char *p = text; (p = strstr(p, "\nOP(")) != NULL; n++) {
        const char *name = p + 4, *comma = strchr(name, ','), *open = comma ? strchr(comma, '(') : NULL, *close = open ? strchr(open, ')') : NULL;
        if (!close) return 1;
        const char *end = p, *begin;
        while (end > text && strncmp(end, "*/", 2) != 0) end--;
        begin = end;
        while (begin > text && strncmp(begin, "/*", 2) != 0) begin--;
        printf("| `%.*s` | ", (int)(comma - name), name);
        print_comment(begin + 2, end);
        printf(" | `");
        for (const char *c = open + 1; c < close; c++)
            if (!isspace((unsigned char)*c)) putchar(*c);
            else if (!isspace((unsigned char)c[-1])) putchar(' ');
        printf("` |\n");
        p = close;
    }
    free(text);
    return n > 0 ? 0 : 1;
}
