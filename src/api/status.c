#include "core/status.h"

int tress_exit_code(tress_status st)
{
    switch (st) {
    case TRESS_OK: return 0;
    case TRESS_E_ARG: return 2;
    case TRESS_E_FORMAT: case TRESS_E_SHAPE: case TRESS_E_CONTRACT: return 3;
    case TRESS_E_OOM: return 4;
    case TRESS_E_GPU: return 5;
    case TRESS_E_IO: return 6;
    case TRESS_E_NONFINITE: return 7;
    case TRESS_E_SAVED: return 8;
    case TRESS_E_CANCELLED: return 130;
    }
    return 1;                                       /* not a status of ours */
}

const char *tress_status_name(tress_status st)
{
    switch (st) {
    case TRESS_OK: return "ok";
    case TRESS_E_ARG: return "bad argument";
    case TRESS_E_FORMAT: return "malformed file";
    case TRESS_E_SHAPE: return "sizes do not fit";
    case TRESS_E_CONTRACT: return "contract does not match";
    case TRESS_E_OOM: return "out of memory";
    case TRESS_E_GPU: return "GPU failure";
    case TRESS_E_IO: return "input or output failed";
    case TRESS_E_NONFINITE: return "a computed value is not finite";
    case TRESS_E_SAVED: return "interrupted and saved";
    case TRESS_E_CANCELLED: return "interrupted";
    }
    return "unknown status";
}

const char *tress_last_error(void) { return tr_message(); }
const char *tress_version(void) { return TRESS_VERSION; }
