/* Compiler attributes used across the tree. gcc and clang understand all of them. */
#ifndef TILLBOX_CORE_ATTRIBUTES_H
#define TILLBOX_CORE_ATTRIBUTES_H

/* The caller must look at what the function returns. */
#define MUST_CHECK __attribute__((warn_unused_result))

/* printf-like: `position` and `first` are 1-based argument positions. */
#define PRINTF_LIKE(position, first) __attribute__((format(printf, position, first)))

/* The variable is released by `function(&variable)` when it goes out of scope. */
#define CLEANUP(function) __attribute__((cleanup(function)))

#define UNUSED __attribute__((unused))

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#endif
