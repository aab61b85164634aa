/* The paths of head office's stock:
 *
 *   GET, POST  /locations/{location}/products
 *   GET        /locations/{location}/products/{id}
 *   POST       /locations/{location}/products/{id}/stock */
#ifndef TILLBOX_BRIDGE_STOCK_API_H
#define TILLBOX_BRIDGE_STOCK_API_H

#include "bridge/inventory/stock_worker.h"
#include "core/uuid.h"

/* Of the HTTP thread. */
struct stock_api {
    struct stock_worker *worker;
    struct uuid_generator *ids; /* of head office's own events */
    struct sha256 *hasher;
};

/* Answers or defers; false if the path is none of these. */
bool stock_api_handle(struct stock_api *api, struct http_exchange *exchange);

#endif
