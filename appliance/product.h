/* What a product is. */
#ifndef TILLBOX_APPLIANCE_PRODUCT_H
#define TILLBOX_APPLIANCE_PRODUCT_H

#include <stdint.h>

enum {
    PRODUCT_NAME_MAX = 200, /* characters */
    PRODUCT_SKU_MAX = 64,
    PRODUCT_TEXT_SIZE = 4 * PRODUCT_NAME_MAX + 1, /* bytes of UTF-8, with the NUL */
    PRODUCT_SKU_SIZE = 4 * PRODUCT_SKU_MAX + 1,
};

static const int64_t PRODUCT_PRICE_MAX_MINOR = 1000000000000;

struct product {
    int64_t product_id;
    int64_t stock;
    int64_t price_minor;
    int64_t updated_at_ms;
    char name[PRODUCT_TEXT_SIZE];
    char sku[PRODUCT_SKU_SIZE]; /* the shop's code, unique; empty: none */
};

#endif
