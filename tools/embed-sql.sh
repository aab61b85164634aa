#!/bin/sh
# Prints a C file that holds the migrations of one folder, in order of their numbers.
# usage: tools/embed-sql.sh SYMBOL FILE.sql…    (each file is named NNNN_name.sql)
set -eu
symbol=$1
shift
echo '#include "core/migrate.h"'
echo
echo "const struct migration ${symbol}[] = {"
for file in "$@"; do
    base=$(basename "$file" .sql)
    number=$(echo "${base%%_*}" | sed 's/^0*//')
    printf '    {%s, "%s",\n' "$number" "${base#*_}"
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/     "/' -e 's/$/\\n"/' "$file"
    printf '    },\n'
done
echo '};'
echo "const size_t ${symbol}_count = sizeof $symbol / sizeof ${symbol}[0];"
