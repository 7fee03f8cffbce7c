# Doxygen's filter of pages. Links to headings are GitHub's: here they lead to the page, or nowhere.
s/\[([^]]*)\]\(#[^)]*\)/\1/g
s/\.md#[^)]*\)/.md)/g
# Headers within code are taken for links and tags.
s/`#include </`</g
/^\|/s/`<([a-z_./]+)>`/\\<\1\\>/g
