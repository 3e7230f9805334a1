# frozen_string_literal: true

# The functions of libfairlead.so, as include/fairlead.h declares them, and nothing that thinks.
#
# ruby-ffi, not Fiddle: a call costs an eighth (README.md of this binding has the numbers), and `blocking: true` says at
# the declaration which functions wait. Those, and only those, release the GVL, so that other threads run meanwhile; for
# the short ones that would nearly double the price of the call.
require "ffi"

module Fairlead
  # Each function under its C name.
  module Library
    extend FFI::Library

    # FL_ABI_VERSION of the header that these declarations were written from.
    ABI_VERSION = 2

    # enum fl_status
    OK = 0
    PENDING = 1
    FULL = 2
    CLOSED = 3
    TIMEOUT = 4
    END_REACHED = 5
    ERR_USAGE = -1
    ERR_GONE = -4
    ERR_ANSWERED = -5
    ERR_HANDSHAKE = -6
    ERR_ORIGIN = -7
    ERR_BODY = -8

    # enum fl_event_kind
    EVENT_REQUEST = 1
    EVENT_WAKE = 2
    EVENT_DEADLINE = 3

    # FAIRLEAD_LIBRARY names the library; without it, it is looked for beside the Python package that this folder may be
    # installed in (fairlead/ruby/lib/fairlead), and where a checkout builds it.
    def self.path
      named = ENV.fetch("FAIRLEAD_LIBRARY", "")
      return named unless named.empty?

      places = ["../../..", "../../../../target/release"].map { |way| File.expand_path("#{way}/libfairlead.so", __dir__) }
      places.find { |place| File.exist?(place) } or
        raise Error, "there is no #{places.join(' and no ')}: run `cargo build --release -p fairlead-c` in a checkout, " \
                     "or say in FAIRLEAD_LIBRARY where the library is"
    end

    begin
      ffi_lib path
    rescue LoadError => error
      raise Error, "libfairlead.so cannot be loaded: #{error.message.lines.first&.strip}"
    end

    # A struct of two words, returned by value.
    class Bytes < FFI::Struct
      layout :data, :pointer, :size, :size_t

      # A binary String, or nil where there is nothing.
      def to_s
        data = self[:data]
        data.null? ? nil : data.read_bytes(self[:size])
      end
    end

    begin
      attach_function :fl_abi_version, [], :int
    rescue FFI::NotFoundError
      raise Error, "#{path} is not Fairlead's library: it has no fl_abi_version"
    end
    unless fl_abi_version == ABI_VERSION
      raise Error, "#{path} has ABI version #{fl_abi_version}, and this binding is written for #{ABI_VERSION}: " \
                   "install both from one release of Fairlead"
    end

    attach_function :fl_last_error, [], :string

    attach_function :fl_settings_new, [:pointer], :int
    attach_function :fl_settings_listen, %i[pointer string], :int
    attach_function :fl_settings_set_number, %i[pointer string uint64], :int
    attach_function :fl_settings_set_text, %i[pointer string string], :int
    attach_function :fl_settings_set_texts, %i[pointer string pointer size_t], :int
    attach_function :fl_settings_free, [:pointer], :int

    attach_function :fl_engine_start, %i[pointer pointer], :int
    attach_function :fl_engine_poll, %i[pointer pointer size_t int], :int, blocking: true
    attach_function :fl_engine_poll_now, :fl_engine_poll, %i[pointer pointer size_t int], :int
    attach_function :fl_engine_wait_request, %i[pointer int pointer], :int, blocking: true
    attach_function :fl_engine_descriptors, %i[pointer pointer], :int
    attach_function :fl_engine_leave, [:pointer], :int
    attach_function :fl_engine_wake, [:pointer], :int
    attach_function :fl_engine_wake_at, %i[pointer uint64 uint64], :int
    attach_function :fl_engine_drain, %i[pointer int string], :int
    attach_function :fl_engine_busy, %i[pointer pointer pointer], :int
    attach_function :fl_engine_dismiss, [:pointer], :int
    attach_function :fl_engine_stop, %i[pointer uint64], :int, blocking: true
    attach_function :fl_engine_free, [:pointer], :int, blocking: true
    attach_function :fl_engine_address, %i[pointer size_t], :string

    attach_function :fl_request_scheme, [:pointer], Bytes.by_value
    attach_function :fl_request_variable, %i[pointer size_t pointer pointer], :int
    attach_function :fl_request_label, [:pointer], :string
    attach_function :fl_request_subprotocol, %i[pointer size_t], :string
    attach_function :fl_request_is_gone, [:pointer], :int
    attach_function :fl_request_respond, %i[pointer int string pointer size_t pointer size_t], :int
    attach_function :fl_request_start, %i[pointer int string pointer size_t], :int
    attach_function :fl_request_write, %i[pointer pointer size_t], :int
    attach_function :fl_request_finish, [:pointer], :int
    attach_function :fl_request_abort, %i[pointer string], :int
    attach_function :fl_request_wait_writable, %i[pointer uint64], :int
    attach_function :fl_request_wait_writable_blocking, %i[pointer int], :int, blocking: true
    attach_function :fl_request_read_body, %i[pointer pointer size_t pointer], :int
    attach_function :fl_request_wait_body, %i[pointer uint64], :int
    attach_function :fl_request_wait_body_blocking, %i[pointer int], :int, blocking: true
    attach_function :fl_request_accept, %i[pointer string pointer], :int
    attach_function :fl_request_fileno, [:pointer], :int
    attach_function :fl_request_release, %i[pointer int string], :int
    attach_function :fl_request_free, [:pointer], :int

    attach_function :fl_session_receive_nowait, %i[pointer pointer], :int
    attach_function :fl_session_receive_or_wake, %i[pointer uint64 pointer], :int
    attach_function :fl_session_receive, %i[pointer int pointer], :int, blocking: true
    attach_function :fl_session_forget, %i[pointer uint64], :int
    attach_function :fl_session_send_text, %i[pointer pointer size_t], :int
    attach_function :fl_session_send_binary, %i[pointer pointer size_t], :int
    attach_function :fl_session_wait_room, %i[pointer uint64], :int
    attach_function :fl_session_wait_room_blocking, %i[pointer int], :int, blocking: true
    attach_function :fl_session_free, [:pointer], :int

    # Raises Error with the library's sentence for a negative status; else answers the status.
    def self.check(status)
      raise Error, fl_last_error if status.negative?

      status
    end
  end
end
