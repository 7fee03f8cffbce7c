// SPDX-License-Identifier: MIT
/// \file
/// Where and why each malformed file of the test data is refused: what EXPECT.csv says in words,
/// pinned down to the byte.
#pragma once

#include <cstdint>

namespace allot::test {

struct Refusal {
  const char* file;
  std::uint64_t byte;
  const char* rule;
};

inline constexpr Refusal refusals[] = {
    {"h_empty_file.gguf", 0, "the file has 0 bytes, too few for a GGUF header"},
    {"h_3_bytes.gguf", 0, "the file has 3 bytes, too few for a GGUF header"},
    {"h_trunc_05.gguf", 4, "the version needs 4 bytes, but only 1 are left in the file"},
    {"h_trunc_07.gguf", 4, "the version needs 4 bytes, but only 3 are left in the file"},
    {"h_trunc_15.gguf", 8, "the number of tensors needs 8 bytes, but only 7 are left in the file"},
    {"h_trunc_16.gguf", 16,
     "the number of metadata pairs needs 8 bytes, but only 0 are left in the file"},
    {"h_bad_magic_FUGG.gguf", 0,
     "the magic is FUGG: a container from before GGUF was settled; convert it anew"},
    {"h_version_0.gguf", 4, "version 0 is not 1, 2 or 3"},
    {"h_version_be3.gguf", 4,
     "a big-endian file: this version of allot reads little-endian files only; convert it on the "
     "machine it comes from"},
    {"h_n_tensors_minus1.gguf", 8,
     "18446744073709551615 tensors do not fit the 0 bytes that follow"},
    {"h_n_kv_minus1.gguf", 16,
     "18446744073709551615 metadata pairs do not fit the 0 bytes that follow"},
    {"h_n_kv_2p32.gguf", 16, "4294967296 metadata pairs do not fit the 0 bytes that follow"},
    {"h_n_tensors_1_but_none.gguf", 69,
     "a tensor's name needs 8 bytes, but only 0 are left in the file"},
    {"k_key_len_remaining_plus1.gguf", 32,
     "a metadata key needs 9999 bytes, but only 11 are left in the file"},
    {"k_key_empty.gguf", 24, "a metadata key is empty"},
    {"k_key_65536.gguf", 24, "a metadata key has 65536 bytes; at most 65535 are allowed"},
    {"k_key_nul.gguf", 32, "a metadata key holds a NUL byte"},
    {"k_duplicate_key.gguf", 49, "metadata key x occurs twice"},
    {"k_type_13.gguf", 33, "a metadata value's type 13 is unknown; 0 to 12 are defined"},
    {"k_value_truncated.gguf", 37,
     "a metadata value needs 8 bytes, but only 3 are left in the file"},
    {"k_str_len_2p63.gguf", 37, "a string of 9223372036854775808 bytes; at most 2^30 are allowed"},
    {"k_str_len_1GiB_plus1.gguf", 37, "a string of 1073741825 bytes; at most 2^30 are allowed"},
    {"k_arr_elem_type_13.gguf", 37, "an array's element type 13 is unknown; 0 to 12 are defined"},
    {"k_arr_n_2p61_u64.gguf", 37,
     "an array of 2305843009213693952 elements; at most 2^30 are allowed"},
    {"k_arr_n_2p61p1_str.gguf", 37,
     "an array of 2305843009213693953 elements; at most 2^30 are allowed"},
    {"k_arr_n_2p30p1_u8.gguf", 37, "an array of 1073741825 elements; at most 2^30 are allowed"},
    {"k_arr_n_huge_16MiB_declared.gguf", 37,
     "an array of 16777215 elements does not fit the 8 bytes left in the file"},
    {"a_align_u64.gguf", 98, "general.alignment is uint64, not uint32"},
    {"a_align_str.gguf", 98, "general.alignment is string, not uint32"},
    {"a_align_0.gguf", 98, "general.alignment is 0, not a power of two from 1 to 1048576"},
    {"a_align_13.gguf", 98, "general.alignment is 13, not a power of two from 1 to 1048576"},
    {"a_align_2p31.gguf", 98,
     "general.alignment is 2147483648, not a power of two from 1 to 1048576"},
    {"a_align_2p30.gguf", 98,
     "general.alignment is 1073741824, not a power of two from 1 to 1048576"},
    {"t_name_len_minus1.gguf", 77,
     "a tensor's name needs 18446744073709551615 bytes, but only 307 are left in the file"},
    {"t_name_65.gguf", 69, "a tensor's name has 65 bytes; at most 64 are allowed"},
    {"t_name_empty.gguf", 69, "a tensor's name is empty"},
    {"t_duplicate_name.gguf", 110, "tensor a occurs twice"},
    {"t_ndims_5.gguf", 78, "tensor a has 5 dimensions; at most 4 are allowed"},
    {"t_dim_minus1.gguf", 82, "tensor a has more than 2^63 - 1 elements"},
    {"t_ne_product_overflow.gguf", 82, "tensor a has more than 2^63 - 1 elements"},
    {"t_ne_wrap_to_zero.gguf", 85, "tensor evil has more than 2^63 - 1 elements"},
    {"t_ne_wrap_negative.gguf", 85, "tensor evil has more than 2^63 - 1 elements"},
    {"t_ne_wrap_small_positive.gguf", 85, "tensor evil has more than 2^63 - 1 elements"},
    {"t_nbytes_overflow_i64.gguf", 82, "tensor a has more than 2^63 - 1 bytes"},
    {"t_row_not_block_multiple_q4_0.gguf", 82,
     "tensor a has rows of 33 elements, no multiple of the 32 in a block of Q4_0"},
    {"t_type_removed_4.gguf", 90,
     "tensor a has type 4, which was removed from GGUF; convert it anew"},
    {"t_type_removed_5.gguf", 90,
     "tensor a has type 5, which was removed from GGUF; convert it anew"},
    {"t_type_removed_32.gguf", 90,
     "tensor a has type 32, which was removed from GGUF; convert it anew"},
    {"t_type_removed_33.gguf", 90,
     "tensor a has type 33, which was removed from GGUF; convert it anew"},
    {"t_type_removed_37.gguf", 90,
     "tensor a has type 37, which was removed from GGUF; convert it anew"},
    {"t_type_removed_38.gguf", 90,
     "tensor a has type 38, which was removed from GGUF; convert it anew"},
    {"t_type_255.gguf", 90, "tensor a has type 255, which is unknown, so its size is too"},
    {"t_type_7fffffff.gguf", 90,
     "tensor a has type 2147483647, which is unknown, so its size is too"},
    {"t_offset_minus1.gguf", 94,
     "tensor a begins at offset 18446744073709551615, no multiple of 32"},
    {"t_offset_minus16_wrap.gguf", 94,
     "tensor a begins at offset 18446744073709551600, no multiple of 32"},
    {"t_offset_unaligned_16.gguf", 94, "tensor a begins at offset 16, no multiple of 32"},
    {"t_offset_past_eof.gguf", 94,
     "tensor a has 32 bytes at offset 1048576, beyond the 256 bytes of tensor data in the file; "
     "was the file cut off?"},
    {"t_overlap_partial.gguf", 127, "tensor b overlaps tensor a at offset 32"},
    {"t_info_truncated.gguf", 94,
     "a tensor's offset needs 8 bytes, but only 4 are left in the file"},
    {"d_short_by_1.gguf", 94,
     "tensor a has 32 bytes at offset 0, beyond the 31 bytes of tensor data in the file; was the "
     "file cut off?"},
    {"d_sum_overflow_2x7f.gguf", 94,
     "tensor a has 9223372036854775744 bytes at offset 0, beyond the 32 bytes of tensor data in "
     "the file; was the file cut off?"},
    {"d_sum_overflow_3.gguf", 94,
     "tensor a has 9223372036854775744 bytes at offset 0, beyond the 256 bytes of tensor data in "
     "the file; was the file cut off?"},
    {"s_missing_split_no-00001-of-00002.gguf", 0, "split.no is missing"},
    {"s_split_no_mismatch-00001-of-00002.gguf", 32,
     "split.no is 7, but by its name the file is number 1 (from 0)"},
    {"s_tensors_count_mismatch-00001-of-00002.gguf", 124,
     "split.tensors.count is 5, but the shards hold 2 tensors"},
    {"s_duplicate_tensor-00001-of-00002.gguf", 114,
     "tensor a is in s_duplicate_tensor-00001-of-00002.gguf already"},
};

}  // namespace allot::test
