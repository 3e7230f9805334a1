# frozen_string_literal: true

# Fairlead's engine for Ruby: an HTTP and WebSocket server in a native library, and what a Rack application needs on top.
#
# What lives here is the list of parts, lowest first; each knows only those before it. An application needs none of them:
# it is Rack's `call(env)` and, for a WebSocket, the module UWSGI (compat §7.3).
module Fairlead
  # A call that failed, with the library's sentence.
  class Error < StandardError; end

  # The client's handshake breaks RFC 6455, or its page is a stranger's. The engine tells the client why.
  class HandshakeRefused < Error; end
end

require "fairlead/library"
require "fairlead/settings"
require "fairlead/engine"
require "fairlead/request"
require "fairlead/session"
