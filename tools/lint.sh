#!/bin/bash
# The static gates. Prints one line a gate, its name and ok or failed, and under a failed one its
# findings; exit 1 if any failed. usage: tools/lint.sh [GATE…]    (all of them unless named)
# PROGRAMS='core/a*.c …' has the slow ones, tidy and cppcheck, read only these.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
# What `make lint` was given isn't meant for the builds below.
unset MAKEFLAGS MFLAGS MAKELEVEL BUILD

GATES=(format gcc clang analyzer tidy cppcheck shellcheck pyflakes page text layers sizes)
read -ra PROGRAMS <<<"${PROGRAMS:-core/*.c core/*/*.c appliance/*.c bridge/*/*.c}"
PYTHON=${PYTHON:-/usr/bin/python3}
JOBS=$(nproc)

# The project's files of these patterns, one a line. None at all is a failure: a gate that reads
# nothing would be green for ever.
files() {
    git ls-files --cached --others --exclude-standard -- "$@" |
        while read -r file; do [ ! -f "$file" ] || echo "$file"; done |
        grep . || { echo "no file matches $*" >&2 && false; }
}

shell_scripts() {
    files '*.sh' && files | xargs -d '\n' awk 'FNR == 1 && /^#!.*sh( |$)/ {print FILENAME} {nextfile}'
}

compile() {
    make -s -k -j "$JOBS" WERROR=-Werror "$@" 2>&1 | { grep -vE '^  (CC|LD) ' || true; }
}

# The Makefile's flags, so that clang-tidy reads the code as the compilers do; one file a run, since
# version 14 takes a va_list for uninitialized in every file of a run but the first.
tidy() {
    local flags
    # shellcheck disable=SC2016 # for make to expand
    flags=$(make -s OPTIMIZE= --eval='flags: ; $(info $(CPPFLAGS) $(CFLAGS)) @:' flags) || return
    files "${PROGRAMS[@]}" |
        xargs -d '\n' -P "$JOBS" -I '{}' sh -c "clang-tidy --quiet '{}' -- $flags" 2>&1 |
        { grep -v "warnings\? generated\.$" || true; }
}

# git grep ends with 1 when it finds nothing, with more when it couldn't look.
no_text() {
    git grep --untracked -nIE "$@"
    [ $? -eq 1 ]
}

no_text_in() {
    no_text "$2" -- "$1"
}

# The till page: modules that parse, text that never becomes markup, nothing inline, files of a size
# to read in one go.
page() {
    files 'appliance/page/*.js' 'tests/browser/*.mjs' | xargs -d '\n' -n 1 node --check &&
        no_text_in appliance/page '(inner|outer)HTML|insertAdjacent|document\.write|\beval\b' &&
        no_text_in appliance/page '<script>|<style|[[:space:]](style|on[a-z]+)="|https?://[^w]' &&
        files 'appliance/page/*' ':!appliance/page/strings.js' | xargs -d '\n' \
            awk 'FNR == 401 {print FILENAME ": more than 400 lines"; bad = 1} END {exit bad}'
}

# The analyzer runs after the optimizer, which would remove some of what there is to find.
check() {
    case $1 in
    format) files '*.c' '*.h' | xargs -d '\n' clang-format --dry-run -Werror ;;
    gcc) compile CC=gcc BUILD=build/lint-gcc build tests-build ;;
    clang) compile CC=clang BUILD=build/lint-clang build tests-build ;;
    analyzer) compile CC=gcc BUILD=build/lint-analyzer OPTIMIZE='-O0 -fanalyzer' build ;;
    tidy) tidy ;;
    cppcheck)
        files "${PROGRAMS[@]}" 'tests/*.c' |
            xargs -d '\n' cppcheck --quiet -j "$JOBS" --enable=warning,performance,portability \
                --error-exitcode=1 --inline-suppr --std=c11 -I. -D_GNU_SOURCE
        ;;
    shellcheck) shell_scripts | sort -u | xargs -d '\n' shellcheck --external-sources ;;
    pyflakes) files '*.py' | xargs -d '\n' "$PYTHON" -m pyflakes ;;
    page) page ;;
    text) no_text '\b(TO[D]O|FI[X]ME|X[X]X)\b|[[:space:]]+$' ;;
    layers) tools/layers.py ;;
    sizes) tools/sizes.py ;;
    *) echo "no such gate; there are: ${GATES[*]}" && false ;;
    esac
}

tools/install-deps.sh lint || exit
failed=0
for gate in "${@:-${GATES[@]}}"; do
    if findings=$(check "$gate" 2>&1); then
        printf '%-11s ok\n' "$gate"
    else
        printf '%-11s failed\n%s\n' "$gate" "$findings"
        failed=1
    fi
done
exit "$failed"
