/* The rules of stock. Pure. */
#ifndef TILLBOX_APPLIANCE_STOCK_H
#define TILLBOX_APPLIANCE_STOCK_H

#include <stdint.h>

#include "core/result.h"

enum { STOCK_MAX = 1000000000 };

/* Moves `stock` (0 to STOCK_MAX) by `delta`. RESULT_CONFLICT where it would go below zero,
 * RESULT_TOO_LARGE where it would go above STOCK_MAX. */
MUST_CHECK enum result stock_move(int64_t stock, int64_t delta, int64_t *ret_stock);

#endif
