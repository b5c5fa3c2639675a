/* train.h - the door of train: a LoRA learnt from photos, mattes and sketches; what a run shows and what it keeps. Floor 5. */
#ifndef TRESS_TRAIN_TRAIN_H
#define TRESS_TRAIN_TRAIN_H
#include "train/checkpoint.h"
#include "train/curve.h"
#include "train/events.h"
#include "train/lock.h"
#include "train/lr.h"
#include "train/metrics.h"
#include "train/run.h"
#include "train/scale.h"
#include "train/sigma.h"
#include "train/state.h"
#include "train/trainer.h"
#endif
