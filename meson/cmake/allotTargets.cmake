# The targets, over the headers in ${allot_include_dir}: for this folder's CMakeLists.txt and for an
# installed package.
if(NOT TARGET allot::allot)
  find_package(Boost 1.74 REQUIRED)  # its headers
  find_package(Threads REQUIRED)
  add_library(allot::allot INTERFACE IMPORTED GLOBAL)
  target_include_directories(allot::allot INTERFACE "${allot_include_dir}")
  target_compile_features(allot::allot INTERFACE cxx_std_20)
  target_link_libraries(allot::allot INTERFACE Boost::headers Threads::Threads)
endif()

if(NOT TARGET allot::hip)
  set(allot_rocm ENV ROCM_PATH ENV HIP_PATH)
  find_path(allot_hip_include_dir hip/hip_runtime_api.h
    HINTS ${allot_rocm} PATHS /opt/rocm PATH_SUFFIXES include)
  find_library(allot_hip_library amdhip64 HINTS ${allot_rocm} PATHS /opt/rocm PATH_SUFFIXES lib lib64)
  if(allot_hip_include_dir AND allot_hip_library)
    add_library(allot::hip INTERFACE IMPORTED GLOBAL)
    target_include_directories(allot::hip INTERFACE "${allot_hip_include_dir}")
    target_compile_definitions(allot::hip INTERFACE __HIP_PLATFORM_AMD__=1)
    target_link_libraries(allot::hip INTERFACE allot::allot "${allot_hip_library}")
  endif()
  mark_as_advanced(allot_hip_include_dir allot_hip_library)
endif()
