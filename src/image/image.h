/* image.h - pictures: in and out, resampled, placed, sketches rendered, mattes, composites. The door of image. Floor 2. */
#ifndef TRESS_IMAGE_IMAGE_H
#define TRESS_IMAGE_IMAGE_H
#include "image/affine.h"
#include "image/composite.h"
#include "image/file.h"
#include "image/matte.h"
#include "image/pixels.h"
#include "image/resize.h"
#include "image/sheet.h"
#include "image/sketch.h"
#endif
