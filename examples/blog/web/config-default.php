<?php
// Read for every request, so a database that has moved is found at once: eratos replaces the file.
$database = @file(getenv('MESOS_SANDBOX') . '/requires/database', FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES) ?: [];
if (!$database) {
    require '/etc/wordpress/db-error.php';
    exit(1);
}
define('DB_HOST', $database[0]);
define('DB_PASSWORD', getenv('DB_PASSWORD'));

// Addresses in pages are those by which the blog was asked for, if it is its own name with any port.
$blog = getenv('BLOG_HOST');
$asked = $_SERVER['HTTP_HOST'] ?? '';
define('WP_HOME', 'http://' . (preg_replace('/:\d+$/', '', $asked) === $blog ? $asked : $blog));
define('WP_SITEURL', WP_HOME);

// Nothing of a page is in the container alone: plugins and themes come with the image.
define('DISALLOW_FILE_MODS', true);
define('DISABLE_WP_CRON', true);
define('WP_HTTP_BLOCK_EXTERNAL', true);
