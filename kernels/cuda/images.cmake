# The kernels for GPUs, compiled by nvcc where it is and embedded in the program. Without it the program is the same but
# for them, and says so when a card is asked for.
set(kernel_files norm elements positions prepare matvec matmul attend_rows attend_tiles gemm unpack sequences back_rows back_elements)
set(LONGLEAF_CUDA_ARCHITECTURES "75;80;86;89;90;100;120" CACHE STRING "GPUs to compile kernels for; PTX of the last serves later ones")

set(images "")
if(LONGLEAF_CUDA)
  find_program(NVCC nvcc HINTS /usr/local/cuda/bin ENV CUDA_PATH PATH_SUFFIXES bin)
  set(version 0)
  if(NVCC)
    execute_process(COMMAND ${NVCC} --version OUTPUT_VARIABLE text ERROR_QUIET)
    string(REGEX MATCH "release ([0-9]+)" _ "${text}")
    set(version ${CMAKE_MATCH_1})
  endif()
  if(NOT version GREATER_EQUAL 13)
    message(STATUS "nvcc of CUDA 13 or later is not installed: this build has no kernels for GPUs")
  else()
    set(codes "")
    foreach(arch IN LISTS LONGLEAF_CUDA_ARCHITECTURES)
      list(APPEND codes "-gencode=arch=compute_${arch},code=sm_${arch}")
    endforeach()
    # Lines of the source for profilers and sanitizers: for developers, since they make the program three times as large.
    set(for_developers "")
    if(LONGLEAF_TESTS)
      set(for_developers -lineinfo -Werror all-warnings)
    endif()
    list(GET LONGLEAF_CUDA_ARCHITECTURES -1 last)
    list(APPEND codes "-gencode=arch=compute_${last},code=compute_${last}")
    foreach(name IN LISTS kernel_files)
      set(image ${CMAKE_CURRENT_BINARY_DIR}/${name}.fatbin)
      add_custom_command(OUTPUT ${image}
        COMMAND ${NVCC} -std=c++20 -fatbin ${codes} --expt-relaxed-constexpr ${for_developers} -Xfatbin=-compress-all
          -I${PROJECT_SOURCE_DIR} -MD -MF ${image}.d -o ${image} ${CMAKE_CURRENT_LIST_DIR}/${name}.cu
        DEPENDS ${CMAKE_CURRENT_LIST_DIR}/${name}.cu DEPFILE ${image}.d COMMENT "Compiling kernels ${name}.cu" VERBATIM COMMAND_EXPAND_LISTS)
      list(APPEND images ${image})
    endforeach()
  endif()
endif()

# images.cpp: the fat binaries as bytes within the program, and the list of them.
set(assembly "")
set(declarations "")
set(addresses "")
foreach(image IN LISTS images)
  get_filename_component(name ${image} NAME_WE)
  string(APPEND assembly "asm(\".section .rodata\\n.balign 16\\n.global longleaf_image_${name}\\nlongleaf_image_${name}:\\n"
    ".incbin \\\"${image}\\\"\\n.previous\");\n")
  string(APPEND declarations "extern \"C\" const unsigned char longleaf_image_${name}[];\n")
  string(APPEND addresses "longleaf_image_${name}, ")
endforeach()
configure_file(${CMAKE_CURRENT_LIST_DIR}/images.cpp.in images.cpp @ONLY)
target_sources(kernels PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/images.cpp)
set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/images.cpp PROPERTIES OBJECT_DEPENDS "${images}")
