#include "bridge/adapters/delivery.h"

const char *delivery_reason(const struct delivery_report *report, enum delivery outcome)
{
    if (outcome == DELIVERY_REFUSED)
        return report->refusal.text;
    if (outcome == DELIVERY_TRANSIENT)
        return report->unwilling.text;
    if (outcome == DELIVERY_HELD)
        return "held behind an event of the same order that was not taken";
    return report->reason.text;
}
