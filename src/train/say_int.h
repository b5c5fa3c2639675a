/* say_int.h - a formatted line for whoever listens. */
#ifndef TRESS_TRAIN_SAY_INT_H
#define TRESS_TRAIN_SAY_INT_H

#include "train/checkpoint.h"

/* Nothing where say is NULL. */
void tr_say_line(tr_say say, void *self, const char *format, ...) TR_PRINTF(3, 4);

#endif
