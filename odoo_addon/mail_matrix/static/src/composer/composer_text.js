import {TextField, textField} from "@web/views/fields/text/text_field";
import {useEffect, useState} from "@odoo/owl";
import {_t} from "@web/core/l10n/translation";
import {registry} from "@web/core/registry";
import {useHotkey} from "@web/core/hotkeys/hotkey_hook";
import {useService} from "@web/core/utils/hooks";

const TYPED = /(?:^|[\s(])@([^\s@:]{0,40})$/u;
const SHOWN = 8;
let composers = 0;

/**
 * A text that Ctrl+Enter sends: it presses the button that `options` name. An @ offers
 * the people of the record, unless they say `no_mentions`.
 */
export class MatrixComposerText extends TextField {
    static template = "mail_matrix.ComposerText";
    static props = {
        ...TextField.props,
        sendButton: {type: String},
        noMentions: {type: Boolean, optional: true},
    };

    setup() {
        super.setup();
        this.orm = useService("orm");
        this.state = useState({people: [], chosen: 0});
        composers += 1;
        this.listId = `o_matrix_people_${composers}`;
        useHotkey("control+enter", () => this.send(), {
            area: () => this.textareaRef.el,
            bypassEditableProtection: true,
        });
        const handlers = {
            input: () => this.offer(),
            keydown: (event) => this.onKeydown(event),
            blur: () => this.close(),
        };
        useEffect(
            (text) => {
                for (const [name, handler] of Object.entries(handlers)) {
                    text?.addEventListener(name, handler);
                }
                return () => {
                    for (const [name, handler] of Object.entries(handlers)) {
                        text?.removeEventListener(name, handler);
                    }
                };
            },
            () => [this.textareaRef.el]
        );
        // The cursor stays in the text: this says which of the list is chosen.
        useEffect(
            (text, count, chosen) => {
                if (!text || !count) {
                    return;
                }
                text.setAttribute("aria-controls", this.listId);
                text.setAttribute("aria-activedescendant", this.optionId(chosen));
                return () => {
                    text.removeAttribute("aria-controls");
                    text.removeAttribute("aria-activedescendant");
                };
            },
            () => [this.textareaRef.el, this.state.people.length, this.state.chosen]
        );
    }

    /** Odoo does not translate this attribute in a template. */
    get label() {
        return _t("People of this record");
    }

    optionId(index) {
        return `${this.listId}_${index}`;
    }

    send() {
        const form = this.textareaRef.el.closest(".modal, .o_form_view");
        form.querySelector(`button[name=${this.props.sendButton}]`)?.click();
    }

    /** @returns {String|undefined} the text between an @ and the cursor */
    get typed() {
        const {value, selectionStart} = this.textareaRef.el;
        return value.slice(0, selectionStart).match(TYPED)?.[1];
    }

    async offer() {
        if (this.props.noMentions || this.typed === undefined) {
            return this.close();
        }
        const people = await this.people();
        // Meanwhile more was typed.
        const typed = this.textareaRef.el && this.typed;
        if (typed === undefined || typed === null) {
            return this.close();
        }
        const wanted = typed.toLowerCase();
        this.state.people = people
            .filter((person) =>
                `${person.name} ${person.matrix_user_id}`.toLowerCase().includes(wanted)
            )
            .slice(0, SHOWN);
        this.state.chosen = 0;
    }

    /** The record's people; in a dialog, those of the record that it is about. */
    people() {
        const {resModel, resId, data} = this.props.record;
        const [model, id] = data.res_model
            ? [data.res_model, data.res_id?.resId || data.res_id]
            : [resModel, resId];
        if (this.asked?.id !== id) {
            const answer = id
                ? this.orm.silent.call(model, "get_matrix_people", [[id]])
                : Promise.resolve([]);
            this.asked = {id, answer};
        }
        return this.asked.answer;
    }

    close() {
        this.state.people = [];
    }

    onKeydown(event) {
        const {people, chosen} = this.state;
        if (!people.length || event.ctrlKey) {
            return;
        }
        const steps = {ArrowDown: 1, ArrowUp: people.length - 1};
        if (event.key in steps) {
            this.state.chosen = (chosen + steps[event.key]) % people.length;
        } else if (event.key === "Enter" || event.key === "Tab") {
            this.choose(people[chosen]);
        } else if (event.key === "Escape") {
            this.close();
        } else {
            return;
        }
        // Neither a new line, nor the end of the dialog.
        event.preventDefault();
        event.stopPropagation();
    }

    /** Write the person's name; where two have the same one, the Matrix ID. */
    async choose(person) {
        const people = await this.people();
        const text = this.textareaRef.el;
        const end = text.selectionStart;
        const namesakes = people.filter(({name}) => name === person.name);
        const mention = namesakes.length > 1 ? person.matrix_user_id : `@${person.name}`;
        text.setRangeText(`${mention} `, end - this.typed.length - 1, end, "end");
        this.close();
        text.dispatchEvent(new InputEvent("input", {bubbles: true}));
    }
}

export const matrixComposerText = {
    ...textField,
    component: MatrixComposerText,
    extractProps: (field, dynamicInfo) => ({
        ...textField.extractProps(field, dynamicInfo),
        sendButton: field.options.send_button,
        noMentions: Boolean(field.options.no_mentions),
    }),
};

registry.category("fields").add("matrix_composer_text", matrixComposerText);
