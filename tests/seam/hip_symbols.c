/* SPDX-License-Identifier: MIT
   hip_symbols RUNTIME PLUGIN: a program that is not linked to HIP and asks the dynamic linker for its functions by
   name, as Python's ctypes and engines with plug-ins do. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define HOLDS(condition)                 \
  if (!(condition)) {                    \
    puts(#condition " does not hold");   \
    return 1;                            \
  }

int main(int argc, char** argv) {
  HOLDS(argc == 3);
  void* const runtime = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  HOLDS(runtime != NULL);
  int (*allocate)(void**, size_t);
  int (*release)(void*);
  int (*synchronize)(void);
  *(void**)&allocate = dlsym(runtime, "hipMalloc");
  *(void**)&release = dlsym(runtime, "hipFree");
  *(void**)&synchronize = dlsym(runtime, "hipDeviceSynchronize");
  HOLDS(allocate != NULL && release != NULL && synchronize != NULL);
  void* address = NULL;
  HOLDS(allocate(&address, 3 << 20) == 0);
  HOLDS(synchronize() == 0);
  HOLDS(release(address) == 0);

  /* HIP's own way to find them, where it has one. */
  int (*find)(const char*, void**, int, unsigned long long, void*);
  *(void**)&find = dlsym(runtime, "hipGetProcAddress");
  if (find != NULL) {
    HOLDS(find("hipMalloc", (void**)&allocate, 502, 0, NULL) == 0);
    HOLDS(find("hipFree", (void**)&release, 502, 0, NULL) == 0);
    HOLDS(find("hipNoSuchFunction", &address, 502, 0, NULL) != 0);
  }
  HOLDS(allocate(&address, 2 << 20) == 0);
  HOLDS(release(address) == 0);

  /* Of what is not there, and of the rest of the world, the linker says what it says alone. */
  HOLDS(dlsym(runtime, "hipNoSuchFunction") == NULL);
  HOLDS(strstr(dlerror(), "hipNoSuchFunction") != NULL);
  HOLDS(dlsym(RTLD_DEFAULT, "hipNoSuchFunction") == NULL);
  HOLDS(dlsym(RTLD_DEFAULT, "printf") != NULL);
  /* RTLD_NEXT is behind the library that asks, which here is the last. */
  void* const plugin = dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL);
  HOLDS(plugin != NULL);
  void* (*behind_plugin)(void);
  *(void**)&behind_plugin = dlsym(plugin, "behind_plugin");
  HOLDS(behind_plugin != NULL && behind_plugin() == NULL);
  return 0;
}
