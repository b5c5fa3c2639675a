/* io.h - the door of io: named tensors in files. Floor 2. */
#ifndef TRESS_IO_IO_H
#define TRESS_IO_IO_H
#include "io/safetensors.h"
#endif
