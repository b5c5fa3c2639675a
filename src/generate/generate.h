/* generate.h - the door of generate: a sketch, words and a photo into a picture. Floor 5. The command line (through tress.h),
 * training previews and the server all draw by this room. It never prints: hooks tell. */
#ifndef TRESS_GENERATE_GENERATE_H
#define TRESS_GENERATE_GENERATE_H
#include "generate/around.h"
#include "generate/bundle.h"
#include "generate/canvas.h"
#include "generate/contract.h"
#include "generate/draw.h"
#include "generate/host.h"
#include "generate/latent.h"
#include "generate/metadata.h"
#include "generate/words.h"
#endif
