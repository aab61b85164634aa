#include "core/config/common_options.h"

#include <string.h>

void common_options_check_currency(const struct config_sources *sources, const char *currency,
                                   struct buf *problems)
{
    static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (currency && strspn(currency, LETTERS) != strlen(currency))
        config_add_problem(sources, "currency", problems,
                           "\"%s\" is no code of ISO 4217 such as EUR", currency);
}
