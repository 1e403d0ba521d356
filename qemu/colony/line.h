/*
 * Lines of JSON, as others have sent them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_LINE_H
#define COLONY_LINE_H

#include <json-glib/json-glib.h>

/*
 * The object that a line is; the caller's. Whatever a stranger may have sent:
 * json-glib alone takes more than JSON, and recurses as deep as the text does.
 * Errors: G_IO_ERROR_INVALID_DATA.
 */
JsonObject *colony_line_parse(const char *text, gsize length, GError **error);

/*
 * A member of @object, or NULL if there is none of that type, or @object is
 * NULL. Never warns.
 */
const char *colony_json_string(JsonObject *object, const char *name);
JsonObject *colony_json_object(JsonObject *object, const char *name);
JsonArray *colony_json_array(JsonObject *object, const char *name);
/* @otherwise: if there is none of that type */
gint64 colony_json_int(JsonObject *object, const char *name, gint64 otherwise);
gboolean colony_json_boolean(JsonObject *object, const char *name,
                             gboolean otherwise);

#endif
