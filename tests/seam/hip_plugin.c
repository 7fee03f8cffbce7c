/* SPDX-License-Identifier: MIT
   What another program loads by dlopen, as Python loads its extensions: HIP comes with it. */
#include <stddef.h>

int hipMalloc(void** address, size_t bytes);
int hipFree(void* address);

int run(void);
int run(void) {
  void* address = NULL;
  const int code = hipMalloc(&address, 5 << 20);
  return code != 0 ? code : hipFree(address);
}
