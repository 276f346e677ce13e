<?php
// Write a post: post.php TITLE.
$_SERVER['HTTP_HOST'] = getenv('BLOG_HOST');
require '/usr/share/wordpress/wp-load.php';
$id = wp_insert_post(['post_title' => $argv[1], 'post_status' => 'publish', 'post_author' => 1], true);
if (is_wp_error($id)) {
    fwrite(STDERR, $id->get_error_message() . "\n");
    exit(1);
}
echo "post $id: $argv[1]\n";
