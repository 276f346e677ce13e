<?php
// What WordPress shows while it does not reach its database.
http_response_code(502);
header('Content-Type: text/plain');
header('Cache-Control: no-store');
echo "The blog's database is not there.\n";
