#include "appliance/stock.h"

#include <assert.h>

enum result stock_move(int64_t stock, int64_t delta, int64_t *ret_stock)
{
    int64_t moved = 0;
    assert(stock >= 0 && stock <= STOCK_MAX);
    if (__builtin_add_overflow(stock, delta, &moved))
        return delta < 0 ? RESULT_CONFLICT : RESULT_TOO_LARGE;
    if (moved < 0)
        return RESULT_CONFLICT;
    if (moved > STOCK_MAX)
        return RESULT_TOO_LARGE;
    *ret_stock = moved;
    return RESULT_OK;
}
