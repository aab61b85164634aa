/* What `bridge notification` needs of the settings. */
#ifndef TILLBOX_BRIDGE_NOTIFICATION_SETTINGS_H
#define TILLBOX_BRIDGE_NOTIFICATION_SETTINGS_H

#include "bridge/commands/settings.h"
#include "bridge/notification/channel.h"
#include "bridge/notification/notification_text.h"

/* Reads the secrets, and checks that each channel that is switched on has what it needs. Problems
 * are appended; whatever they are, `ret_channels` says which channels are on. */
void notification_settings_check(struct settings *settings, const struct config_sources *sources,
                                 struct buf *problems, bool ret_channels[static CHANNEL_COUNT]);

/* How the receivers are reached; valid while the settings are. */
struct channel_options notification_settings_channel(const struct settings *settings);

/* Loads the templates; a problem is appended. Released with notification_texts_done(). */
void notification_settings_load_texts(const struct settings *settings,
                                      const struct config_sources *sources, struct buf *problems,
                                      struct notification_texts *ret_texts);

#endif
