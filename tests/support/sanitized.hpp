// AULOS_TEST_SANITIZED: 1 where a sanitizer takes over memory or threads, so that system limits can't be tested.
// AULOS_TEST_THREAD_SANITIZED: 1 where ThreadSanitizer does, whose runtime maps memory before a program's own mmap can
// run and knows no threads in a forked process.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define AULOS_TEST_THREAD_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define AULOS_TEST_THREAD_SANITIZED 1
#endif
#endif
#ifndef AULOS_TEST_THREAD_SANITIZED
#define AULOS_TEST_THREAD_SANITIZED 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define AULOS_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AULOS_TEST_SANITIZED 1
#endif
#endif
#ifndef AULOS_TEST_SANITIZED
#define AULOS_TEST_SANITIZED AULOS_TEST_THREAD_SANITIZED
#endif
