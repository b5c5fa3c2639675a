/* Groups of matrices that stay in host memory and come to the device when they are needed, by turns into two slots of it. */
#include "model/weights_int.h"

#include <stdio.h>
#include <string.h>

typedef struct tr_travel {
    tr_groups g;
    int64_t   slot_bytes;                       /* of the largest that travels */
    tr_tensor slot[2];                          /* U8 [slot_bytes] */
    int       inside[2];                        /* the group that is in the slot or on its way there, -1 for none */
    int       side[TR_GROUP_MAX];               /* the slot a group comes to: neighbours of a kind come to different ones */
    void     *home[TR_GROUP_MAX];               /* pinned, g.bytes */
    int64_t   used[TR_GROUP_MAX], kept[TR_GROUP_MAX];     /* while weights are asked for: bytes placed; of these, in host memory */
} tr_travel;

int tr_weights_group_of(const char *name)
{
    int block = -1, at = 0;
    if (sscanf(name, "transformer_blocks.%d.%n", &block, &at) == 1 && at > 0 && block >= 0 && block < TR_GROUP_MAX / 2)
        return strncmp(name + at, "norm1", 5) == 0 ? TR_GROUP_ADALN(block) : TR_GROUP_BLOCK(block);
    at = 0;
    if ((sscanf(name, "controlnet_blocks.%d.%n", &block, &at) == 1 || sscanf(name, "encoder.block.%d.layer.%n", &block, &at) == 1) && at > 0 &&
        block >= 0 && block < TR_GROUP_MAX / 2 && !strstr(name, "relative_attention_bias"))
        return TR_GROUP_BLOCK(block);
    return -1;
}

bool tr_weights_travels(const tr_weights *w) { return w->travel != NULL; }
bool tr_weights_group_travels(const tr_weights *w, int group) { return w->travel && group >= 0 && w->travel->g.travels[group]; }

void tr_weights_groups(const tr_weights *w, tr_groups *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->bytes, w->group_bytes, sizeof out->bytes);
    out->bytes_all = w->matrix_bytes;
}

tress_status tr_weights_travel(tr_weights *w, const tr_groups *g)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    int n[2] = { 0, 0 };                        /* travellers of each kind so far */
    bool any = false;
    w->matrix_room = g->bytes_all;
    for (int i = 0; i < TR_GROUP_MAX; i++) {
        any = any || g->travels[i];
        if (g->travels[i]) w->matrix_room -= g->bytes[i];
    }
    if (!any || !w->stream) return TRESS_OK;
    TR_ASSERT(!w->travel && w->bytes == 0);
    TR_TRY(tr_alloc(&p, sizeof *w->travel));
    w->travel = p;
    tr_travel *t = w->travel;
    t->g = *g;
    t->inside[0] = t->inside[1] = -1;
    tr_device *d = tr_stream_device(w->stream);
    for (int i = 0; i < TR_GROUP_MAX; i++) {
        if (!g->travels[i]) continue;
        t->side[i] = n[i % 2]++ % 2;
        if (g->bytes[i] > t->slot_bytes) t->slot_bytes = g->bytes[i];
        TR_TRY(tr_device_pin(d, &t->home[i], g->bytes[i]));
    }
    for (int k = 0; k < 2; k++) TR_TRY(tr_device_take_weight(d, &t->slot[k], TR_U8, TR_DIMS(t->slot_bytes)));
done:
    return st;                                  /* what is there goes with the weights */
}

void tr_weights_travel_free(tr_weights *w)
{
    tr_travel *t = w->travel;
    if (!t) return;
    tr_device *d = tr_stream_device(w->stream);
    for (int k = 0; k < 2; k++) tr_device_give_weight(d, t->slot[k]);
    for (int i = 0; i < TR_GROUP_MAX; i++) tr_device_unpin(d, t->home[i], t->g.bytes[i]);
    tr_free(t);
    w->travel = NULL;
}

/* ---- on the way in --------------------------------------------------------------------------------------- */

/* What was placed of the group in this slot goes home. */
static tress_status keep(tr_weights *w, int side)
{
    tress_status st = TRESS_OK;
    tr_travel *t = w->travel;
    const int i = t->inside[side];
    if (i < 0 || t->kept[i] == t->used[i]) return TRESS_OK;
    TR_TRY(tr_download(w->stream, (char *)t->home[i] + t->kept[i], tr_slice(t->slot[side], 0, t->kept[i], t->used[i] - t->kept[i])));
    TR_TRY(tr_stream_sync(w->stream));
    t->kept[i] = t->used[i];
done:
    return st;
}

tress_status tr_weights_slot(tr_weights *w, void **out, int64_t n, int group)
{
    tress_status st = TRESS_OK;
    tr_travel *t = w->travel;
    const int side = t->side[group];
    if (t->inside[side] != group) TR_TRY(keep(w, side));
    TR_ASSERT(t->used[group] + n <= t->g.bytes[group]);
    t->inside[side] = group;                    /* and not whole there, if another was between: settle sees to that */
    *out = (char *)t->slot[side].data + t->used[group];
    t->used[group] += n;
done:
    return st;
}

tress_status tr_weights_settle(tr_weights *w)
{
    tress_status st = TRESS_OK;
    tr_travel *t = w->travel;
    if (!t) return TRESS_OK;
    for (int k = 0; k < 2; k++) {
        const bool fresh = t->inside[k] >= 0 && t->kept[t->inside[k]] < t->used[t->inside[k]];
        TR_TRY(keep(w, k));
        if (fresh) t->inside[k] = -1;
    }
done:
    return st;
}

/* ---- in use ---------------------------------------------------------------------------------------------- */

static int lane_of(const tr_weights *w, int side) { return 2 * (int)w->module + side; }

static tress_status fetch(tr_weights *w, tr_stream *s, int group)
{
    tress_status st = TRESS_OK;
    tr_travel *t = w->travel;
    const int side = t->side[group];
    if (t->inside[side] == group) return TRESS_OK;
    t->inside[side] = -1;
    TR_TRY(tr_fetch(s, lane_of(w, side), tr_slice(t->slot[side], 0, 0, t->g.bytes[group]), t->home[group]));
    t->inside[side] = group;
done:
    return st;
}

/* The nearest traveller of the group's kind. Blocks go round, for the next step begins where this one began; adaLN is made in one go. */
static int next_of(const tr_travel *t, int group, int step)
{
    for (int i = group + 2 * step; i != group; i += 2 * step) {
        if (i < 0 || i >= TR_GROUP_MAX) {
            if (group % 2 == 0) return -1;
            i = i < 0 ? TR_GROUP_MAX - 1 : 1;
            if (i == group) return -1;
        }
        if (t->g.travels[i]) return i;
    }
    return -1;
}

tress_status tr_weights_need(tr_weights *w, tr_stream *s, int group, int step)
{
    tress_status st = TRESS_OK;
    tr_travel *t = w->travel;
    if (!t) return TRESS_OK;
    TR_TRY(tr_weights_settle(w));
    const bool travels = t->g.travels[group];
    if (travels) {
        TR_TRY(fetch(w, s, group));
        TR_TRY(tr_fetch_wait(s, lane_of(w, t->side[group])));
    }
    const int next = next_of(t, group, step);
    if (next >= 0 && !(travels && t->side[next] == t->side[group])) TR_TRY(fetch(w, s, next));
done:
    return st;
}
