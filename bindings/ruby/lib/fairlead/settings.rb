# frozen_string_literal: true

module Fairlead
  # The engine's settings by name (fairlead.h lists them). Raises Error for a name or a value that the engine refuses.
  class Settings
    attr_reader :handle

    def initialize
      FFI::MemoryPointer.new(:pointer) do |slot|
        Library.check(Library.fl_settings_new(slot))
        @handle = slot.read_pointer
      end
    end

    # One more address, such as "127.0.0.1:0".
    def listen(address)
      Library.check(Library.fl_settings_listen(@handle, address))
    end

    # A number of milliseconds, bytes or things; a text; or an Array of texts.
    def []=(name, value)
      return set_texts(name.to_s, value) if value.is_a?(Array)

      set = value.is_a?(Integer) ? :fl_settings_set_number : :fl_settings_set_text
      Library.check(Library.public_send(set, @handle, name.to_s, value))
    end

    def free
      Library.fl_settings_free(@handle)
    end

    private

    def set_texts(name, values)
      texts = values.map { |value| FFI::MemoryPointer.from_string(value) }
      list = FFI::MemoryPointer.new(:pointer, [texts.size, 1].max).write_array_of_pointer(texts)
      Library.check(Library.fl_settings_set_texts(@handle, name, list, texts.size))
    end
  end
end
