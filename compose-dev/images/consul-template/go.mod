module consul-template-build

go 1.25.5

require github.com/hashicorp/consul-template v0.41.1
