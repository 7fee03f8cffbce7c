# SPDX-License-Identifier: MIT
# Doxygen's filter: writes comments that headers need not repeat in each class. A member whose name
# means the same everywhere gets a brief; an overload that follows one of its name gets the comment of
# that. A member with a comment of its own keeps it. Lines stay where they are.

function usual(line) {
  if (line ~ /^(friend |constexpr )*bool operator==.*= default;/) return "Compares all members."
  if (line ~ /operator==\(/) return "Returns whether both are at the same element."
  if (line ~ /operator<=>/) return "Compares positions."
  if (line ~ /^[A-Za-z]+\([A-Za-z]+&&( [a-z]+)?\)/ && moves(line)) return "Takes over what the other has."
  if (line ~ /operator=\([A-Za-z]+&&/) return "Takes over what the other has, in place of its own."
  if (line ~ /operator bool\(\)/) return "Returns whether it has a value."
  if (line ~ /char\* what\(\)/) return "Returns the message: what failed, with which numbers, and what to do."
  if (line ~ /char\* to_text\(/) return "Returns its name, as reports and messages have it."
  if (line ~ /^using (reference|pointer|difference_type|iterator_concept|iterator_category) = /)
    return "As `std::iterator_traits` requires."
  if (line ~ /^(friend )?(Iterator|difference_type|Iterator& )[^(]*operator(\+|-|\+\+|--|\+=|-=)\(/)
    return "As of any iterator."
  if (line ~ / begin\(\) const/) return "Returns the first element's iterator."
  if (line ~ / end\(\) const/) return "Returns the iterator behind the last element."
  if (line ~ / empty\(\) const/) return "Returns whether its size is 0."
  if (line ~ /^std::(size_t|uint64_t) size\(\) const/) return "Returns the number of elements."
  if (line ~ / operator\*\(\) const/) return "Returns the element."
  if (line ~ / operator\[\]\(difference_type/) return "Returns the element that many places away."
  if (line ~ /^class Iterator \{/) return "Goes through the elements in order."
  if (match(line, /^using [a-z_]+_(type|pointer) = /)) return alias(substr(line, 7, RLENGTH - 9))
  if (line ~ /^using (Strategy|Alignment|Synchronization) = /)
    return "The policy that `ArenaFor` gives an arena of this memory."
  if (line ~ /^using Wide = /) return "The strategy to use where the capacity is too large for this one."
  if (line ~ /^const char\* wide_name = /) return "The name of `Wide`, for messages."
  if (line ~ /^bool is_thread_safe = /)
    return "True if several threads may use an arena of this policy."
  if (line ~ /^bool host_accessible = /) return "True if the host may use its addresses."
  if (line ~ /^bool device_accessible = /) return "True if a device may use its addresses."
  if (line ~ /^using (propagate_on_container_|is_always_)/) return "As `std::allocator_traits` requires."
  if (line ~ /^void\* address\(\) const/) return "Returns the address of its first byte."
  if (line ~ /^std::uint64_t bytes\(\) const/) return "Returns its size in bytes."
  if (line ~ /^const std::string& path\(\) const/) return "Returns the file's path."
  if (line ~ /^DeviceType& device\(\)/) return "Returns the device."
  if (line ~ /^stream_type& stream\(std::size_t lane/)
    return "Returns a lane's stream. Throws: `std::out_of_range`."
  if (line ~ /^std::size_t lane\(\) const/) return "Returns the number of its lane."
  if (line ~ /^std::size_t lanes\(\) const/) return "Returns the number of lanes."
  if (line ~ /^std::uint64_t tokens\(\) const/) return "Returns the number of its tokens."
  if (line ~ /^const KvLayout& layout\(\) const/) return "Returns the layout of a block."
  if (line ~ /^void allocated\(const Block&/) return "Notes a block, under the arena's guard."
  if (line ~ /^void deallocated\(const Block&/) return "Notes a block that is freed, under the arena's guard."
  if (line ~ /^void refused\(const Request&/) return "Notes a request that was refused, under the arena's guard."
  if (FILENAME ~ /\/device\//) return of_device(line)
  return ""
}

# moves LINE: whether a constructor's parameter is of its own class.
function moves(line, own, parameter) {
  own = line
  sub(/\(.*/, "", own)
  parameter = line
  sub(/^[^(]*\(/, "", parameter)
  sub(/&&.*/, "", parameter)
  return own == parameter
}

function alias(name) {
  if (name == "value_type") return "The type of an element, or of the value."
  if (name == "stream_pointer") return "An owner of a stream, shared with others."
  sub(/_type$/, "", name)
  if (name ~ /^(strategy|alignment|synchronization|memory|observer)$/)
    return "The type of its " name " policy."
  gsub(/_/, " ", name)
  return "The type of its " name "."
}

# What the concept `Device` has, in the words of its table.
function of_device(line) {
  if (line ~ / memory\(\) const/) return "Returns the memory policy of its arenas."
  if (line ~ / staging_memory\(\) const/) return "Returns host memory that it copies from at full speed."
  if (line ~ / make_stream\(\) const/) return "Makes a stream: work in order."
  if (line ~ / make_event\(\) const/) return "Makes an event: a point in a stream's work."
  if (line ~ /^void copy_to_device\(/) return "Copies from staging memory, on a stream."
  if (line ~ /^void copy_to_host\(/) return "Copies into staging memory, on a stream."
  if (line ~ /^void copy_on_device\(/) return "Copies between two places on the device, on a stream."
  if (line ~ /^void record\(/) return "Records the event after the stream's work so far."
  if (line ~ /^void wait\(/) return "Makes later work of the stream wait for the event; the host does not wait."
  if (line ~ /^void synchronize\(stream_type/) return "Waits until all work of the stream is done."
  if (line ~ /^void synchronize\(event_type/) return "Waits for the work before the event; none if it was never recorded."
  if (line ~ / is_done\(/) return "Returns whether `synchronize` would not wait."
  if (line ~ / memory_info\(\) const/) return "Returns the bytes that are free now, and all."
  if (line ~ / memory_sources\(\) const/) return "Returns what its free memory is the least of."
  if (line ~ / host_addressable\(\) const/) return "Returns whether the host may write its memory."
  if (line ~ /std::string name\(\) const/) return "Returns its name, for messages."
  return ""
}

# name_of LINE: of the function that it declares, at its indentation; "" if it declares none.
function name_of(line, indent, name) {
  if (line !~ /^[A-Za-z][^=;"]*\(/ || line ~ /^(return|if|for|while|throw|static_assert|case|requires) ?[({ ]/)
    return ""
  name = line
  if (match(name, /operator[^A-Za-z ]*\(/)) name = substr(name, RSTART, RLENGTH - 1)
  else sub(/\(.*/, "", name)
  sub(/.*[ *&]/, "", name)
  return indent name
}

{
  line = $0
  indent = $0
  sub(/[^ ].*/, "", indent)
  sub(/^ +/, "", line)
}

line ~ /^\/\/\// {
  text = documented ? text " " substr(line, 5) : substr(line, 5)
  documented = 1
  print
  next
}

{
  declaration = line
  while (sub(/^(\[\[no(discard|return)\]\]|explicit|static|constexpr|inline) /, "", declaration)) {
  }
  # Members are two columns into their class; what is further in, is a body.
  if (line ~ /^};/ && length(indent) == level - 2) level -= 2
  name = length(indent) == level ? name_of(declaration, indent) : ""
  brief = ""
  if (!documented && line !~ /\/\/\/</ && length(indent) == level) {
    brief = usual(declaration)
    if (brief == "" && name != "" && name == last && line !~ /= delete;/) brief = shared
  }
  if (brief != "") print indent "/** " brief " */ " substr($0, length(indent) + 1)
  else print
  if (name != "") {
    last = name
    shared = documented ? text : brief
  }
  if (line ~ /^(class|struct) / && line !~ /;/ && length(indent) == level) level += 2
  documented = documented && line ~ /^(template|requires) ?[<(]/
}
