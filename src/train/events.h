/* events.h - TensorBoard's event files, written by hand: TFRecords of protobuf Events, version "brain.Event:2". Each record reaches the
 * file whole, by one write. Every opening makes a file of its own, whose name sorts behind those that are there already. */
#ifndef TRESS_TRAIN_EVENTS_H
#define TRESS_TRAIN_EVENTS_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_events tr_events;
/* A new DIR/events.out.tfevents.SECONDS.HOST.PID.0. step >= 0: the run goes on after that step, and TensorBoard is told to forget what
 * earlier files say of later ones. step < 0: a run from its start. Fails: IO, OOM; then no file of ours is left. */
TR_CHECKED tress_status tr_events_open(tr_events **out, const char *dir, int64_t step);
const char *tr_events_file(const tr_events *e);                  /* view */

typedef struct tr_scalar { const char *tag; double value; } tr_scalar;
/* One event for all of them, at the present time. What is not finite is left out; nothing is written for none.
 * Both fail: IO (tr_disk_full; then nothing of the record is in the file), OOM. */
TR_CHECKED tress_status tr_events_scalars(tr_events *e, int64_t step, const tr_scalar *list, int n);
/* A PNG file's n bytes. channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. */
TR_CHECKED tress_status tr_events_image(tr_events *e, int64_t step, const char *tag, const void *png, size_t n, int64_t width,
                                        int64_t height, int channels);
TR_CHECKED tress_status tr_events_sync(tr_events *e);            /* on the disk */
void tr_events_close(tr_events *e);                              /* NULL is welcome */

/* CRC-32C (Castagnoli), and as TFRecords store it. */
uint32_t tr_crc32c(const void *bytes, size_t n);
uint32_t tr_crc32c_masked(const void *bytes, size_t n);

#ifdef __cplusplus
}
#endif
#endif
