/* spiece.model: a SentencePiece ModelProto. Of its protobuf three things are read: pieces (field 1: name 1, score 2),
 * normalizer_spec (field 3) . precompiled_charsmap (field 2); unknown fields are stepped over. The 100 <extra_id_n> of T5
 * are not in the file and come behind, the highest first. */
#include "text/unigram_int.h"
#include "text/unicode_int.h"

#include <stdio.h>
#include <string.h>

#define FILE_MAX ((size_t)64 << 20)

typedef struct span { const uint8_t *b; size_t n; } span;
typedef struct field { uint32_t number; int wire; uint64_t value; span bytes; } field;

static bool read_varint(span *s, uint64_t *out)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64 && s->n > 0; shift += 7) {
        const uint8_t c = *s->b++;
        s->n--;
        v |= (uint64_t)(c & 0x7F) << shift;
        if (!(c & 0x80)) return *out = v, true;
    }
    return false;
}

/* The next field of a message; false when it is malformed. */
static bool read_field(span *s, field *f)
{
    uint64_t tag, n;
    if (!read_varint(s, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) return false;
    f->number = (uint32_t)(tag >> 3);
    f->wire = (int)(tag & 7);
    switch (f->wire) {
    case 0: return read_varint(s, &f->value);
    case 1: n = 8; break;
    case 2: if (!read_varint(s, &n)) return false; break;
    case 5: n = 4; break;
    default: return false;
    }
    if (n > s->n) return false;
    f->bytes = (span){ s->b, (size_t)n };
    s->b += n;
    s->n -= (size_t)n;
    return true;
}

static tress_status read_piece(tr_unigram *t, span s, const char *path)
{
    span name = { NULL, 0 };
    float score = 0;
    field f;
    while (s.n > 0) {
        if (!read_field(&s, &f)) return tr_fail(TRESS_E_FORMAT, "%s: piece %d is malformed", path, t->n_piece);
        if (f.number == 1 && f.wire == 2) name = f.bytes;
        if (f.number == 2 && f.wire == 5) {
            const uint32_t u = f.bytes.b[0] | (uint32_t)f.bytes.b[1] << 8 | (uint32_t)f.bytes.b[2] << 16 | (uint32_t)f.bytes.b[3] << 24;
            memcpy(&score, &u, 4);
        }
    }
    if (name.n > 0 && tr_utf8_valid((const char *)name.b, name.n) != name.n) return tr_fail(TRESS_E_FORMAT, "%s: piece %d is not UTF-8", path, t->n_piece);
    return tr_unigram_put(t, (const char *)name.b, name.n, (double)score, path);
}

tress_status tr_unigram_read_spiece(tr_unigram *t, int64_t *unk, const char *path)
{
    tress_status st = TRESS_OK;
    char *text = NULL;
    size_t n;
    field f;
    TR_TRY(tr_file_read(&text, &n, path, FILE_MAX));
    for (span s = { (const uint8_t *)text, n }; s.n > 0;) {
        if (!read_field(&s, &f)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: byte %zu: malformed protobuf", path, n - s.n));
        if (f.number == 1 && f.wire == 2) TR_TRY(read_piece(t, f.bytes, path));
        if (f.number != 3 || f.wire != 2) continue;
        for (span spec = f.bytes; spec.n > 0;) {
            if (!read_field(&spec, &f)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: normalizer_spec is malformed", path));
            if (f.number != 2 || f.wire != 2) continue;
            if (t->map.n_unit > 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: a second precompiled_charsmap", path));
            TR_TRY(tr_charsmap_init(&t->map, f.bytes.b, f.bytes.n, path));
        }
    }
    for (int i = 99; i >= 0; i--) {
        char name[32];
        const int k = snprintf(name, sizeof name, "<extra_id_%d>", i);
        TR_TRY(tr_unigram_put(t, name, (size_t)k, 0, path));
    }
    *unk = 2;                                           /* T5's, whatever the trainer's own number was */
done:
    tr_free(text);
    return st;
}
