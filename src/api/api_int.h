/* api_int.h - what the public handles are made of. Stays inside api. */
#ifndef TRESS_API_API_INT_H
#define TRESS_API_API_INT_H

#include "generate/generate.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tress {
    tr_host host;                               /* device, hooks, memory limit */
    tress_options options;                      /* as given, for hosts of plans */
};

#ifdef __cplusplus
}
#endif
#endif
