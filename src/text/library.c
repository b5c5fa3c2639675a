#include "text/text.h"

#include <utf8proc.h>

const char *tr_text_library(void) { return utf8proc_version(); }
