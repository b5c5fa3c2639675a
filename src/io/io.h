/* io.h - the door of io. Floor 2. */
#ifndef TRESS_IO_IO_H
#define TRESS_IO_IO_H
#include "io/file.h"
#include "io/safetensors.h"
#endif
