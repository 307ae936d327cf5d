// AULOS_TEST_SANITIZED: 1 where a sanitizer takes over memory or threads, so that system limits can't be tested.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define AULOS_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define AULOS_TEST_SANITIZED 1
#endif
#endif
#ifndef AULOS_TEST_SANITIZED
#define AULOS_TEST_SANITIZED 0
#endif
