#!/bin/sh
# Prints a C file that holds text files by their names without the folder and ".txt".
# usage: tools/embed-text.sh SYMBOL FILE.txt…
set -eu
symbol=$1
shift
echo '#include "bridge/notification/template.h"'
echo
echo "const struct template_file ${symbol}[] = {"
for file in "$@"; do
    printf '    {"%s",\n' "$(basename "$file" .txt)"
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/     "/' -e 's/$/\\n"/' "$file"
    printf '    },\n'
done
echo '};'
echo "const size_t ${symbol}_count = sizeof $symbol / sizeof ${symbol}[0];"
