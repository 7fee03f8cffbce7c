/* SPDX-License-Identifier: MIT
   What another program loads by dlopen, as Python loads its extensions: HIP comes with it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

int hipMalloc(void** address, size_t bytes);
int hipFree(void* address);

/* Finds the function of its own name behind this library: there is none. */
void* behind_plugin(void);
void* behind_plugin(void) {
  void* volatile found = dlsym(RTLD_NEXT, "behind_plugin"); /* volatile: the call returns to here */
  return found;
}

int run(void);
int run(void) {
  void* address = NULL;
  const int code = hipMalloc(&address, 5 << 20);
  return code != 0 ? code : hipFree(address);
}
