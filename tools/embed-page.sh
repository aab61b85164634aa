#!/bin/sh
# Prints a C file that holds the files of the till page, plain and compressed. In index.html
# @BUILD@ becomes the build, a hash over all of them, and @PRELOADS@ what loads the modules early.
# usage: tools/embed-page.sh FILE…
set -eu
LC_ALL=C
export LC_ALL

build=$(cat "$@" | sha256sum | cut -c 1-16)

# Bytes as C's numbers, a line each 16.
bytes() {
    od -An -v -tx1 | sed 's/ \(..\)/0x\1,/g'
}

# All modules at once, instead of one after the other as each names the next.
preloads=$(for file in "$@"; do
    case $file in
    */theme.js) ;;
    *.js) printf '<link rel="modulepreload" href="/page/@BUILD@/%s">' "$(basename "$file")" ;;
    esac
done)

# $1: file. The one file that is not kept for ever names those that are.
content() {
    case $1 in
    */index.html) sed -e "s|@PRELOADS@|$preloads|" -e "s/@BUILD@/$build/g" "$1" ;;
    *) cat "$1" ;;
    esac
}

type_of() {
    case $1 in
    *.html) echo 'text/html; charset=utf-8' ;;
    *.css) echo 'text/css; charset=utf-8' ;;
    *.js) echo 'text/javascript; charset=utf-8' ;;
    *.svg) echo 'image/svg+xml' ;;
    *)
        echo "embed-page: what is $1?" >&2
        exit 1
        ;;
    esac
}

path_of() {
    case $1 in
    */index.html) echo / ;;
    *) echo "/page/$build/$(basename "$1")" ;;
    esac
}

echo '#include "appliance/till_page.h"'
number=0
for file in "$@"; do
    printf '\nstatic const unsigned char PLAIN_%d[] = {\n' $number
    content "$file" | bytes
    printf '};\nstatic const unsigned char GZIP_%d[] = {\n' $number
    content "$file" | gzip -9n | bytes
    printf '};\n'
    number=$((number + 1))
done

printf '\nconst struct till_page_file TILL_PAGE_FILES[] = {\n'
number=0
for file in "$@"; do
    type=$(type_of "$file")
    printf '    {"%s", "%s",\n     PLAIN_%d, sizeof PLAIN_%d, GZIP_%d, sizeof GZIP_%d},\n' \
        "$(path_of "$file")" "$type" $number $number $number $number
    number=$((number + 1))
done
printf '};\nconst size_t TILL_PAGE_FILES_COUNT = %d;\n' "$number"
printf 'const char TILL_PAGE_BUILD[] = "%s";\nconst char TILL_PAGE_ETAG[] = "W/\\"%s\\"";\n' \
    "$build" "$build"
