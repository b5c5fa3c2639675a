/* data.h - a folder of photos, mattes and sketches: listed, checked, brought to one size, encoded, split and put in order. The door of
 * data. Floor 4. */
#ifndef TRESS_DATA_DATA_H
#define TRESS_DATA_DATA_H
#include "data/check.h"
#include "data/dataset.h"
#include "data/latents.h"
#include "data/load.h"
#include "data/order.h"
#include "data/prepare.h"
#include "data/split.h"
#endif
