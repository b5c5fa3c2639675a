#include "text/map_int.h"

static tress_status resize(tr_map64 *m, uint32_t n_slot)
{
    tress_status st = TRESS_OK;
    tr_map64 to = { .n_slot = n_slot, .n = m->n };
    TR_TRY(tr_alloc_array((void **)&to.slot, n_slot, sizeof *to.slot));
    for (uint32_t i = 0; i < m->n_slot; i++) {
        if (!m->slot[i].used) continue;
        uint32_t j = tr_map64_start(&to, m->slot[i].key);
        while (to.slot[j].used) j = (j + 1) & (n_slot - 1);
        to.slot[j] = m->slot[i];
    }
    tr_free(m->slot);
    *m = to;
done:
    return st;
}

tress_status tr_map64_reserve(tr_map64 *m, uint32_t n)
{
    uint32_t n_slot = 64;
    if (n > UINT32_MAX / 4) return tr_fail(TRESS_E_OOM, "a table of %u names is too large", (unsigned)n);
    while (n_slot < 2 * n) n_slot *= 2;
    return n_slot > m->n_slot ? resize(m, n_slot) : TRESS_OK;
}

void tr_map64_fini(tr_map64 *m)
{
    tr_free(m->slot);
    *m = (tr_map64){ 0 };
}

tress_status tr_map64_put(tr_map64 *m, uint64_t key, uint32_t value, uint32_t **at)
{
    tress_status st = TRESS_OK;
    if (2 * (uint64_t)m->n >= m->n_slot) TR_TRY(tr_map64_reserve(m, m->n + 1));
    uint32_t i = tr_map64_start(m, key);
    for (int probe = 0; m->slot[i].used && m->slot[i].key != key; probe++) {
        if (probe == TR_MAP64_PROBES) return tr_fail(TRESS_E_FORMAT, "entries made to collide: no table can hold them");
        i = (i + 1) & (m->n_slot - 1);
    }
    if (!m->slot[i].used) {
        m->slot[i] = (tr_map64_slot){ key, value, 1 };
        m->n++;
    }
    *at = &m->slot[i].value;
done:
    return st;
}
